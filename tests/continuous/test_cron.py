"""When a cron line is due, against a calculation that goes through time minute by minute."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_jobs import Cron
from durable_jobs.cron import last_cron_time, next_cron_time
from tests.support.brute_cron import Brute

MINUTE = timedelta(minutes=1)
ZONES = {
    # Two changes of clock each, of an hour or of half an hour, at midnight, at the date line.
    "Europe/Berlin": 2026,
    "America/New_York": 2026,
    "America/Havana": 2026,
    "Australia/Lord_Howe": 2026,
    "Africa/Casablanca": 2026,
    "Pacific/Chatham": 2026,
    "Pacific/Auckland": 2028,
    # 30 December was left out.
    "Pacific/Apia": 2011,
    "Asia/Kolkata": 2026,
}
WALL = ["30 2 * * *", "0 0 * * *", "15 0,1,2,3 * * *", "0 2-4 * * mon-fri", "5,35 1-3 29 2 *"]
REAL = ["0 * * * *", "30 */3 * * *", "*/20 2 * * *", "7 */2 * mar,oct *"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("line", [*WALL, *REAL])
def test_due_times_around_each_change_of_clock_are_those_of_a_walk_through_all_minutes(
    line: str, zone: str
) -> None:
    rule = Cron(line, timezone=zone).rule()
    brute = Brute(line, zone)
    for change in _changes(zone, ZONES[zone]):
        begin, end = change - timedelta(days=2), change + timedelta(days=3)
        assert _walk(rule, begin, end) == list(brute.due(begin, end))


def _changes(zone: str, year: int) -> list[datetime]:
    """The hours in which the zone's offset changes, or else New Year."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(366 * 24)]
    info = ZoneInfo(zone)
    offsets = [hour.astimezone(info).utcoffset() for hour in hours]
    found = [hours[n] for n, (a, b) in enumerate(pairwise(offsets)) if a != b]
    return found or [hours[0]]


def _walk(rule: object, begin: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    due = begin - timedelta.resolution
    while (due := next_cron_time(rule, due)) < end:  # type: ignore[arg-type]
        found.append(due)
    return found


def test_the_walk_itself_knows_a_gap_and_a_time_that_comes_twice() -> None:
    brute = Brute("30 2 * * *", "Europe/Berlin")
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 24, 23, tzinfo=UTC)
    assert list(brute.due(spring, spring + timedelta(hours=12))) == [spring.replace(hour=1)]
    [due] = brute.due(autumn, autumn + timedelta(hours=12))
    assert due == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana"])
@pytest.mark.parametrize("line", ["30 2 * * *", "45 1 * * *", "30 0 * * *", "0 */2 * * *"])
def test_the_next_due_time_from_any_minute_is_the_same_and_lies_ahead(line: str, zone: str) -> None:
    rule = Cron(line, timezone=zone).rule()
    for change in _changes(zone, 2026):
        begin = change - timedelta(hours=6)
        dues = _walk(rule, begin, begin + timedelta(days=4))
        for minutes in range(0, 24 * 60, 7):
            moment = begin + minutes * MINUTE + timedelta(microseconds=1)
            assert next_cron_time(rule, moment) == next(due for due in dues if due > moment)


def test_a_job_started_in_the_second_of_two_equal_hours_waits_for_the_next_day() -> None:
    rule = Cron("30 2 * * *", timezone="Europe/Berlin").rule()
    second_0210 = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert next_cron_time(rule, second_0210) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_a_line_with_seconds_follows_the_changes_of_clock_as_one_without() -> None:
    rule = Cron("*/20 30 2 * * *", timezone="Europe/Berlin").rule()
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
    assert _walk(rule, spring, spring + timedelta(hours=12)) == [spring.replace(hour=1)]
    dues = _walk(rule, autumn, autumn + timedelta(hours=12))
    assert dues == [autumn.replace(minute=30, second=second) for second in (0, 20, 40)]


def test_29_february_comes_each_fourth_year() -> None:
    rule = Cron("0 12 29 2 *", timezone="Pacific/Auckland").rule()
    dues = _walk(rule, datetime(2026, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC))
    assert [due.astimezone(ZoneInfo("Pacific/Auckland")).year for due in dues] == [
        2028,
        2032,
        2036,
        2040,
    ]


@pytest.mark.parametrize("line", ["* * * * * *", "*/5 * * * *", "30 2 * * *", "* * * * 1 *"])
def test_the_last_due_time_before_a_moment_is_found_however_many_passed(line: str) -> None:
    rule = Cron(line, timezone="Europe/Berlin").rule()
    begin, end = datetime(2025, 11, 3, tzinfo=UTC), datetime(2026, 10, 25, 1, 7, tzinfo=UTC)
    last = last_cron_time(rule, begin, end)
    assert last is not None
    assert last <= end < next_cron_time(rule, last)
    assert last_cron_time(rule, last, last) is None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["* * * * * *", "*/2 * * * * *", "0,59 * * * * *", "7 */2 * * * *"]),
    st.integers(0, 10**7),
    st.integers(0, 10**9),
    st.sampled_from(["UTC", "Europe/Berlin"]),
)
def test_the_last_due_time_of_a_line_with_seconds_is_the_one_before_the_next(
    line: str, second: int, microseconds: int, zone: str
) -> None:
    rule = Cron(line, timezone=zone).rule()
    after = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=second)
    until = after + timedelta(microseconds=microseconds)
    walked = _walk(rule, after + timedelta.resolution, until + timedelta.resolution)
    assert last_cron_time(rule, after, until) == (walked[-1] if walked else None)
