"""What follows a failed attempt, decided without a server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from durable_jobs import NonRetryable, Retry, RetryAfter
from durable_jobs.activities.failures import Decision, decide
from durable_jobs.protocol import Options, RunRequest

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TEN_YEARS = timedelta(days=3653)


def request_of(attempt: int) -> RunRequest:
    """The input of an attempt."""
    return RunRequest(
        job_type="task",
        job="triage",
        key="k",
        handler="on_event",
        run_count=1,
        idempotency_key="key",
        attempt=attempt,
        timeout=60,
    )


def options_with(**retry: Any) -> Options:
    """The options of a job with that retry rule."""
    rule = Retry(**retry).rule()
    return Options(retry=rule, timeout=60, heartbeat_timeout=15, on_exhausted="continue")


def _decided(error: BaseException, attempt: int = 1, **retry: Any) -> Decision:
    return decide(error, request_of(attempt), options_with(**retry), NOW, NOW)


@pytest.mark.parametrize(
    ("when", "wait"),
    [
        (30 * SECOND, 30 * SECOND),
        (NOW + 30 * SECOND, 30 * SECOND),
        (timedelta(), timedelta()),
        (timedelta.min, timedelta()),
        (datetime.min.replace(tzinfo=UTC), timedelta()),
        (timedelta.max, TEN_YEARS),
        (datetime.max.replace(tzinfo=UTC), TEN_YEARS),
        (datetime.max.replace(tzinfo=UTC) - TEN_YEARS, TEN_YEARS),
    ],
    ids=str,
)
def test_retry_after_chooses_a_wait_of_at_most_ten_years(
    when: timedelta | datetime, wait: timedelta
) -> None:
    assert _decided(RetryAfter(when)) == Decision(retry_in=wait)
    assert RetryAfter(when).delay(NOW) == wait


def test_a_wait_beyond_max_duration_ends_the_run_as_exhausted() -> None:
    for when in (timedelta.max, datetime.max.replace(tzinfo=UTC)):
        decided = _decided(RetryAfter(when), max_duration=TEN_YEARS)
        assert decided == Decision(exhausted="max_duration")


@pytest.mark.parametrize("when", [30, 1.5, "30 s", None])
def test_retry_after_refuses_what_is_no_time(when: Any) -> None:
    with pytest.raises(TypeError, match=r"timedelta, such as .* it got"):
        RetryAfter(when)


def test_retry_after_refuses_a_time_without_a_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        RetryAfter(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("wait", [timedelta.max, TEN_YEARS + SECOND])
def test_the_wait_of_an_application_error_is_cut_likewise(wait: timedelta) -> None:
    assert _decided(ApplicationError("later", next_retry_delay=wait)).retry_in == TEN_YEARS


@pytest.mark.parametrize("backoff", ["exponential", "linear", "fixed"])
@pytest.mark.parametrize("attempt", [1, 2, 1_000, 10**9])
def test_a_backoff_never_passes_its_maximum(backoff: str, attempt: int) -> None:
    for factor in (1.0, 2.0, 1_000_000):
        wait = _decided(
            ValueError("no"), attempt, backoff=backoff, factor=factor, maximum=TEN_YEARS
        ).retry_in
        assert wait is not None
        assert SECOND / 2 <= wait <= TEN_YEARS


def test_what_is_final_is_not_tried_again() -> None:
    assert _decided(NonRetryable("no")) == Decision()
    assert _decided(ApplicationError("no", non_retryable=True)) == Decision()
    assert _decided(KeyError("k"), non_retryable=(LookupError,)) == Decision()
    assert _decided(ValueError("no"), 3, max_attempts=3) == Decision(exhausted="max_attempts")
