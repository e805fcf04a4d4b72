"""Deterministic event IDs and timestamps."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_jobs.tracking.ids import iso_ms, uuid7_at

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001


@given(when=MOMENTS, seed=st.text())
def test_an_id_is_a_version_7_uuid_that_holds_its_time(when: datetime, seed: str) -> None:
    value = uuid.UUID(uuid7_at(when, seed.encode("utf-8", "replace")))
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    elapsed = when - datetime(1970, 1, 1, tzinfo=UTC)
    assert value.int >> 80 == elapsed // timedelta(milliseconds=1)


@given(when=MOMENTS)
def test_the_same_time_and_seed_give_the_same_id_and_another_seed_another(when: datetime) -> None:
    assert uuid7_at(when, "a") == uuid7_at(when, b"a")
    assert uuid7_at(when, "a") != uuid7_at(when, "b")


def test_ids_sort_by_time() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [uuid7_at(start + timedelta(milliseconds=n), str(-n)) for n in range(300)]
    assert ids == sorted(ids)


def test_all_74_bits_besides_time_version_and_variant_depend_on_the_seed() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    values = [uuid.UUID(uuid7_at(when, str(n))).int for n in range(200)]
    differing = 0
    for value in values:
        differing |= value ^ values[0]
    assert differing.bit_count() == 74


def test_a_naive_or_impossible_time_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        uuid7_at(datetime(2026, 1, 1), "a")  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        iso_ms(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="1969"):
        uuid7_at(datetime(1969, 1, 1, tzinfo=UTC), "a")


def test_a_timestamp_is_utc_with_milliseconds_that_are_cut() -> None:
    when = datetime(2026, 1, 1, 2, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert iso_ms(when) == "2026-01-01T00:00:00.123Z"
    assert iso_ms(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
