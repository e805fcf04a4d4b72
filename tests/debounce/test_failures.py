"""What happens when a debounce's `reduce` or `execute` fails."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from durable_jobs import NonRetryable, RetryAfter
from tests.debounce.jobs import (
    Bench,
    Ending,
    Gather,
    GoingOn,
    Held,
    Pausing,
    Picky,
    SlowToRetry,
    ms,
)
from tests.support import PATIENCE, eventually
from tests.support.scripted import Push, Script


def failing(*errors: BaseException, after: asyncio.Event | None = None) -> Script:
    """Raises these, one an attempt, then succeeds; the first one not before `after`."""
    left = list(errors)

    async def script(_: object) -> None:
        if after is not None:
            await after.wait()
        if left:
            raise left.pop(0)

    return script


async def test_a_failed_flush_is_tried_again_with_the_same_events_and_key(bench: Bench) -> None:
    held = bench.new(Held)
    bench.book.script(held.key, failing(OSError("a"), OSError("b")))
    await held.add(Push(n=1))
    await held.add(Push(n=2))
    await held.flush()
    result = await bench.result(held)
    calls = bench.calls(held)
    assert [call.attempt for call in calls] == [1, 2, 3]
    assert [call.is_retry for call in calls] == [False, True, True]
    assert [call.state.ns for call in calls] == [[1, 2]] * 3
    assert [call.run_count for call in calls] == [1, 1, 1]
    assert len({call.idempotency_key for call in calls}) == 1
    assert (result["status"], result["runCount"]) == ("completed", 1)


async def test_each_window_and_each_life_has_an_idempotency_key_of_its_own(bench: Bench) -> None:
    gather = bench.new(Gather)
    for n in range(2):
        await gather.add(Push(n=n))
        await eventually(lambda n=n: len(bench.calls(gather)) > 2 * n)
        await gather.add(Push(n=n))
        await bench.result(gather)
    keys = [call.idempotency_key for call in bench.calls(gather)]
    assert len(keys) >= 3
    assert len(set(keys)) == len(keys)


async def test_retry_after_sets_the_wait_and_counts_as_an_attempt(bench: Bench) -> None:
    slow = bench.new(SlowToRetry)
    soon = datetime.now(UTC) + ms(400)
    bench.book.script(slow.key, failing(RetryAfter(ms(30), "busy"), RetryAfter(soon)))
    await slow.add(Push())
    assert (await bench.result(slow))["status"] == "completed"
    assert [call.attempt for call in bench.calls(slow)] == [1, 2, 3]
    assert datetime.now(UTC) >= soon
    assert (
        "busy"
        in (await eventually(lambda: bench.events(slow, "job.failed")))[0]["error"]["message"]
    )


@pytest.mark.parametrize(
    "error",
    [
        RetryAfter(ms(0)),
        RetryAfter(ms(-1)),
        RetryAfter(datetime(2020, 1, 1, tzinfo=UTC)),
        ApplicationError("now", next_retry_delay=ms(0)),
    ],
)
async def test_an_error_that_asks_for_no_wait_is_tried_again_at_once(
    bench: Bench, error: Exception
) -> None:
    slow = bench.new(SlowToRetry)
    bench.book.script(slow.key, failing(error))
    await slow.add(Push())
    # Not after the hour that the job waits otherwise.
    async with asyncio.timeout(PATIENCE):
        await bench.result(slow)
    assert [call.attempt for call in bench.calls(slow)] == [1, 2]


def test_retry_after_refuses_a_naive_datetime() -> None:
    with pytest.raises(ValueError, match="aware"):
        RetryAfter(datetime(2030, 1, 1))  # noqa: DTZ001


class _Unknown(KeyError):
    """A subclass of a subclass of `LookupError`."""


@pytest.mark.parametrize(
    "error",
    [
        NonRetryable("hopeless"),
        LookupError("hopeless"),
        _Unknown("hopeless"),
        ApplicationError("hopeless", non_retryable=True),
    ],
    ids=["NonRetryable", "listed", "subclass", "ApplicationError"],
)
async def test_an_error_that_forbids_a_retry_fails_the_flush_at_once(
    bench: Bench, error: Exception
) -> None:
    picky = bench.new(Picky)
    bench.book.script(picky.key, failing(error))
    await picky.add(Push())
    await eventually(lambda: _word(bench, picky, "paused"))
    assert len(bench.calls(picky)) == 1
    status = await bench.status(picky)
    assert status.last_error
    assert "hopeless" in status.last_error
    await picky.resume()
    assert (await bench.result(picky))["runCount"] == 2


async def test_other_errors_of_the_same_job_are_tried_again(bench: Bench) -> None:
    picky = bench.new(Picky)
    errors = ValueError("once more"), ApplicationError("once more", type="Mine")
    bench.book.script(picky.key, failing(*errors))
    await picky.add(Push())
    assert (await bench.result(picky))["status"] == "completed"
    assert [call.attempt for call in bench.calls(picky)] == [1, 2, 3]


async def test_an_application_error_may_name_the_next_delay(bench: Bench) -> None:
    slow = bench.new(SlowToRetry)
    bench.book.script(slow.key, failing(ApplicationError("soon", next_retry_delay=ms(20))))
    await slow.add(Push())
    assert (await bench.result(slow))["status"] == "completed"
    assert [call.attempt for call in bench.calls(slow)] == [1, 2]


async def test_an_exhausted_flush_pauses_with_its_events_until_resume(bench: Bench) -> None:
    pausing = bench.new(Pausing)
    bench.book.script(pausing.key, failing(*[OSError("full")] * 4))
    await pausing.add(Push(n=1))
    await eventually(lambda: _word(bench, pausing, "paused"))
    await pausing.add(Push(n=2))
    status = await bench.status(pausing)
    assert (status.event_count, status.run_count) == (2, 1)
    assert status.last_error
    assert "full" in status.last_error
    # It fails again, and is paused again; nothing of it is lost.
    await pausing.resume()
    await eventually(lambda: _word(bench, pausing, "paused", runs=2))
    assert (await bench.status(pausing)).event_count == 2
    await pausing.resume()
    assert (await bench.result(pausing))["status"] == "completed"
    assert [(call.attempt, call.state.ns) for call in bench.calls(pausing)] == [
        (1, [1]),
        (2, [1]),
        (1, [1, 2]),
        (2, [1, 2]),
        (1, [1, 2]),
    ]
    assert (await bench.status(pausing)).last_error is None


async def test_an_exhausted_flush_goes_on_after_a_flush(bench: Bench) -> None:
    pausing = bench.new(Pausing)
    bench.book.script(pausing.key, failing(*[OSError("full")] * 2))
    await pausing.add(Push(n=1))
    await eventually(lambda: _word(bench, pausing, "paused"))
    await pausing.flush()
    assert (await bench.result(pausing))["status"] == "completed"
    assert bench.calls(pausing)[-1].flush_reason == "manual"
    assert bench.calls(pausing)[-1].state.ns == [1]


async def test_a_pause_of_the_users_outlasts_a_flush_that_fails_for_good(bench: Bench) -> None:
    pausing = await bench.paused(Pausing)
    bench.book.script(pausing.key, failing(*[OSError("full")] * 2))
    await pausing.add(Push(n=1))
    await pausing.flush()
    await eventually(lambda: bench.events(pausing, "job.retryExhausted"))
    await pausing.flush()
    await eventually(lambda: bench.events(pausing, "debounce.flushed"))
    assert (await bench.status(pausing)).status == "paused"
    await pausing.resume()
    assert (await bench.result(pausing))["status"] == "completed"


async def test_with_continue_the_events_join_the_next_window(bench: Bench) -> None:
    going_on = bench.new(GoingOn)
    joined = asyncio.Event()
    bench.book.script(going_on.key, failing(*[OSError("full")] * 2, after=joined))
    await going_on.add(Push(n=1))
    await eventually(lambda: len(bench.calls(going_on)) == 1)
    await going_on.add(Push(n=2))
    joined.set()
    assert (await bench.result(going_on))["status"] == "completed"
    assert bench.calls(going_on)[0].state.ns == [1]
    assert bench.calls(going_on)[-1].state.ns == [1, 2]
    assert (await bench.status(going_on)).run_count == 2


async def test_with_continue_a_window_opens_for_failed_events_alone(bench: Bench) -> None:
    going_on = bench.new(GoingOn)
    bench.book.script(going_on.key, failing(*[OSError("full")] * 2))
    await going_on.add(Push(n=1))
    await bench.result(going_on)
    first, second, third = bench.calls(going_on)
    assert [call.state.ns for call in (first, second, third)] == [[1], [1], [1]]
    assert first.idempotency_key == second.idempotency_key != third.idempotency_key
    assert third.window_opened_at > first.window_opened_at
    started = await eventually(lambda: bench.events(going_on, "debounce.started"))
    assert len(started) == 2


async def test_an_id_of_a_failed_flush_is_still_known_when_its_events_wait_again(
    bench: Bench,
) -> None:
    pausing = bench.new(Pausing)
    joined = asyncio.Event()
    bench.book.script(pausing.key, failing(*[OSError("full")] * 2, after=joined))
    await pausing.add(Push(n=1), id="a")
    await eventually(lambda: len(bench.calls(pausing)) == 1)
    await pausing.add(Push(n=2), id="a")
    joined.set()
    await eventually(lambda: _word(bench, pausing, "paused"))
    await pausing.add(Push(n=3), id="a")
    await pausing.resume()
    await bench.result(pausing)
    assert bench.calls(pausing)[-1].state.ns == [1]


async def test_with_terminate_the_workflow_fails_with_the_handlers_own_error(
    bench: Bench,
) -> None:
    ending = bench.new(Ending)
    bench.book.script(ending.key, failing(*[ZeroDivisionError("of course")] * 2))
    await ending.add(Push())
    with pytest.raises(WorkflowFailureError) as failed:
        await bench.result(ending)
    exhausted = failed.value.cause
    assert isinstance(exhausted, ApplicationError)
    assert exhausted.message == "Retry exhausted after 2 attempts"
    cause = exhausted.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message) == ("ZeroDivisionError", "of course")
    status = await bench.status(ending)
    assert (status.status, status.last_error) == ("failed", "ZeroDivisionError: of course")
    [ended] = await eventually(lambda: bench.events(ending, "job.terminated"))
    assert (ended["reason"], ended["discardedEvents"]) == ("Retry exhausted after 2 attempts", 1)


async def test_an_event_that_comes_while_a_flush_fails_for_good_is_not_lost(bench: Bench) -> None:
    ending = bench.new(Ending)
    go_on = asyncio.Event()

    async def fail_slowly(run: Any) -> None:
        if run.state.ns == [1]:
            await go_on.wait()
            raise OSError("full")

    bench.book.script(ending.key, fail_slowly)
    await ending.add(Push(n=1))
    await eventually(lambda: bench.calls(ending))
    await ending.add(Push(n=2))
    go_on.set()
    await eventually(lambda: bench.events(ending, "job.terminated"))
    [ended] = bench.events(ending, "job.terminated")
    # Executed by a fresh life, or counted by the one that failed.
    await eventually(lambda: ended["discardedEvents"] == 2 or 2 in bench.executed(ending))
    assert (ended["discardedEvents"] == 2) != (2 in bench.executed(ending))


async def test_an_event_for_which_reduce_raises_is_rejected_alone(bench: Bench) -> None:
    held = bench.new(Held)
    for n, note in enumerate(("", "raise", "", "raise late", "")):
        await held.add(Push(n=n, note=note))
    await held.flush()
    await bench.result(held)
    [call] = bench.calls(held)
    # "raise late" had changed the state already.
    assert call.state.ns == [0, 2, 4]
    assert call.event_count == 3
    status = await bench.status(held)
    assert status.rejected_events == 2
    assert [rejection.reason for rejection in status.rejections] == ["reduce raised ValueError"] * 2
    [flushed] = await eventually(lambda: bench.events(held, "debounce.flushed"))
    assert flushed["eventCount"] == 3


async def test_a_rejected_first_event_leaves_the_state_empty_for_the_next(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=1, note="raise late"))
    await held.add(Push(n=2))
    await held.flush()
    await bench.result(held)
    assert bench.executed(held) == [2]


async def test_a_window_of_nothing_but_rejected_events_ends_without_a_run(bench: Bench) -> None:
    gather = bench.new(Gather)
    await gather.add(Push(note="raise"), id="delivery-1")
    result = await bench.result(gather)
    assert (result["status"], result["runCount"]) == ("completed", 0)
    assert bench.calls(gather) == []
    [rejection] = (await bench.status(gather)).rejections
    assert rejection.id == "delivery-1"
    [flushed] = await eventually(lambda: bench.events(gather, "debounce.flushed"))
    assert flushed["eventCount"] == 0


async def test_a_rejected_event_is_judged_again_by_no_later_window(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(note="raise"))
    await held.flush()
    await bench.result(held)
    await held.add(Push(n=2))
    await held.flush()
    await bench.result(held)
    assert (await bench.status(held)).rejected_events == 0


async def test_a_handlers_own_timeout_or_cancellation_is_a_failure_like_any_other(
    bench: Bench,
) -> None:
    gather = bench.new(Gather)
    bench.book.script(gather.key, failing(TimeoutError("upstream"), asyncio.CancelledError("me")))
    await gather.add(Push())
    assert (await bench.result(gather))["status"] == "completed"
    assert [call.attempt for call in bench.calls(gather)] == [1, 2, 3]
    failed = await eventually(lambda: bench.events(gather, "job.failed"))
    assert [event["attempt"] for event in failed] == [1, 2]
    assert failed[0]["error"]["message"] == "TimeoutError: upstream"
    assert "lost" not in failed[1]["error"]["message"]


async def _word(bench: Bench, handle: Any, word: str, runs: int = 1) -> bool:
    status = await bench.status(handle)
    return status.status == word and status.run_count >= runs
