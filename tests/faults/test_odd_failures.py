"""Failures whose error is as odd as Python lets it be: each is told as what it is, and counts."""

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from pydantic import TypeAdapter, ValidationError
from temporalio import activity
from temporalio.client import Client

from durable_jobs import DebounceJob, DebounceRun, Retry, TaskJob, TaskRun
from tests.support import eventually
from tests.support.lives import Event, Tracked, in_order, kinds_of, tracked_worker

WHOLE = ["debounce.started", "job.failed", "job.executed", "debounce.flushed"]
TWICE = ["debounce.started", "job.failed", "job.failed", "job.retryExhausted"]
TASK = ["job.started", "job.executed", "job.terminated"]


class Textless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Numbered(Exception):
    def __str__(self) -> Any:
        return 7


class Abort(BaseException):
    """No `Exception`."""


class Aborted(Exception):
    def __str__(self) -> str:
        raise Abort("no text")


def refusal(data: str) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(int).validate_python(data)
    return raised.value


def surrogate() -> NoReturn:
    raise ValueError("no file " + b"caf\xe9".decode(errors="surrogateescape"))


def textless() -> NoReturn:
    raise Textless


def numbered() -> NoReturn:
    raise Numbered


def grouped() -> NoReturn:
    raise BaseExceptionGroup("all", [asyncio.CancelledError(), ValueError("one")])


def leaving() -> NoReturn:
    sys.exit("enough")


def aborting() -> NoReturn:
    raise Abort("at once")


def aborted() -> NoReturn:
    raise Aborted


def interrupting() -> NoReturn:
    raise KeyboardInterrupt


def closing() -> NoReturn:
    raise GeneratorExit


def exhausted() -> None:
    next(iter([]))


def stopping() -> NoReturn:
    raise StopAsyncIteration


class FirstFails(DebounceJob[int]):
    """Fails as it is told, once."""

    name = "first-fails"
    flush_after = timedelta(milliseconds=50)
    retry = Retry(initial=timedelta(milliseconds=20))

    def __init__(self, fail: Callable[[], object]) -> None:
        self._fail = fail

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        run.progress(1, message="at \ud800")
        if run.attempt == 1:
            self._fail()


class PlainFirstFails(FirstFails):
    """The same, in a thread."""

    name = "plain-first-fails"

    def execute(self, run: DebounceRun[list[int]]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        run.progress(1, message="at \ud800")
        if run.attempt == 1:
            self._fail()


class FailsForGood(PlainFirstFails):
    """Gives up at once."""

    name = "fails-for-good"
    retry = Retry(non_retryable=(StopIteration, Abort))


class EndsInFailure(FirstFails):
    """Has one attempt."""

    name = "ends-in-failure"
    retry = Retry(max_attempts=1)
    on_exhausted = "terminate"


class FailsTwice(FirstFails):
    """Fails in both attempts that it has."""

    name = "fails-twice"
    retry = Retry(max_attempts=2, initial=timedelta(milliseconds=20))

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        self._fail()


class Interrupted(DebounceJob[int]):
    """Its first attempt ends like one in which the user's second Ctrl-C is raised."""

    name = "interrupted"
    flush_after = timedelta(milliseconds=50)

    def __init__(self) -> None:
        self.attempts: list[int] = []

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        self.attempts.append(run.attempt)
        if len(self.attempts) == 1:
            await activity.wait_for_worker_shutdown()
            raise KeyboardInterrupt


class EndsAtOnce(TaskJob[int, list[int]]):
    name = "ends-at-once"
    retry = Retry(max_attempts=1)

    def on_event(self, run: TaskRun[list[int]], event: int) -> None:
        run.terminate("for \ud800")

    def execute(self, run: TaskRun[list[int]]) -> None:
        """No alarm is set."""


def all_of(worker: Tracked, instance_id: str, kinds: list[str]) -> list[Event]:
    """The events of an instance, once they are those."""
    events = in_order(worker.sink.events, instance_id)
    return events if kinds_of(events) == kinds else []


async def first_failed(client: Client, queue: str, job: FirstFails) -> list[Event]:
    """The events of a window whose first attempt failed."""
    async with tracked_worker(client, queue, [job]) as worker:
        window = worker.jobs.debounce(type(job), queue)
        await window.add(1)
        await client.get_workflow_handle(window.instance_id).result()
        return await eventually(lambda: all_of(worker, window.instance_id, WHOLE))


@pytest.mark.parametrize("job", [FirstFails, PlainFirstFails])
@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (surrogate, "ValueError: no file caf?"),
        (textless, "Textless: its text cannot be read: RuntimeError"),
        (numbered, "Numbered: its text cannot be read: TypeError"),
        (
            grouped,
            "BaseExceptionGroup: all (2 sub-exceptions): CancelledError; ValueError: one",
        ),
        (leaving, "SystemExit: enough"),
        (aborting, "Abort: at once"),
        (aborted, "Aborted: its text cannot be read: Abort"),
        (interrupting, "KeyboardInterrupt"),
        (closing, "GeneratorExit"),
        (stopping, "StopAsyncIteration"),
    ],
)
async def test_an_odd_error_is_told_and_the_next_attempt_runs(
    client: Client, queue: str, fail: Callable[[], object], message: str, job: type[FirstFails]
) -> None:
    events = await first_failed(client, queue, job(fail))
    assert events[1]["error"]["message"] == message
    assert fail.__name__ in events[1]["error"]["stack"]
    assert events[1]["willRetry"] is True


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (FirstFails, "RuntimeError: coroutine raised StopIteration"),
        (PlainFirstFails, "StopIteration"),
    ],
)
async def test_an_iterator_that_ends_too_soon_fails_the_attempt_at_once(
    client: Client, queue: str, job: type[FirstFails], message: str
) -> None:
    events = await first_failed(client, queue, job(exhausted))
    assert events[1]["error"]["message"] == message
    assert "StopIteration" in events[1]["error"]["stack"].splitlines()
    assert "in exhausted" in events[1]["error"]["stack"]
    assert "in execute" in events[1]["error"]["stack"].splitlines()[0]


@pytest.mark.parametrize(
    ("fail", "message"), [(exhausted, "StopIteration"), (aborting, "Abort: at once")]
)
async def test_an_odd_error_can_be_final(
    client: Client, queue: str, fail: Callable[[], object], message: str
) -> None:
    async with tracked_worker(client, queue, [FailsForGood(fail)]) as worker:
        window = worker.jobs.debounce(FailsForGood, queue)
        await window.add(1)
        events = await eventually(
            lambda: all_of(worker, window.instance_id, [*WHOLE[:2], "job.paused"])
        )
        await window.terminate()
    assert (events[1]["error"]["message"], events[1]["willRetry"]) == (message, False)


@pytest.mark.parametrize("fail", [aborting, interrupting])
async def test_an_error_that_is_no_exception_exhausts_the_retries(
    client: Client, queue: str, fail: Callable[[], object]
) -> None:
    async with tracked_worker(client, queue, [FailsTwice(fail)]) as worker:
        window = worker.jobs.debounce(FailsTwice, queue)
        await window.add(1)
        events = await eventually(
            lambda: all_of(worker, window.instance_id, [*TWICE, "job.paused"])
        )
        await window.terminate()
    assert [event["willRetry"] for event in events[1:3]] == [True, False]
    assert events[3]["reason"] == "max_attempts"


async def test_an_interrupt_while_the_worker_stops_does_not_count(
    client: Client, queue: str
) -> None:
    job = Interrupted()
    async with tracked_worker(client, queue, [job]) as worker:
        window = worker.jobs.debounce(Interrupted, queue)
        await window.add(1)
        await eventually(lambda: job.attempts)
    async with tracked_worker(client, queue, [job]) as worker:
        await client.get_workflow_handle(window.instance_id).result()
    assert job.attempts == [1, 1]
    assert "job.failed" not in kinds_of(in_order(worker.sink.events, window.instance_id))


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Textless(), "its text cannot be read: RuntimeError"),
        (Aborted(), "its text cannot be read: Abort"),
        (ValueError("no \ud800"), "no ?"),
        (refusal("s3cret"), "1 validation error for int"),
    ],
)
async def test_an_odd_cause_is_kept_with_the_failure_and_quotes_no_data(
    client: Client, queue: str, cause: Exception, text: str
) -> None:
    def caused() -> NoReturn:
        raise ValueError("no number") from cause

    async with tracked_worker(client, queue, [EndsInFailure(caused)]) as worker:
        window = worker.jobs.debounce(EndsInFailure, queue)
        await window.add(1)
        ended = [*WHOLE[:2], "job.terminated"]
        events = await eventually(lambda: all_of(worker, window.instance_id, ended))
        history = await worker.handle(window.instance_id).fetch_history()
    assert events[1]["error"]["message"] == "ValueError: no number"
    [failed] = [e for e in history.events if e.HasField("activity_task_failed_event_attributes")]
    kept = failed.activity_task_failed_event_attributes.failure
    assert kept.message == "no number"
    assert kept.cause.message.startswith(text)
    assert kept.cause.application_failure_info.type == type(cause).__name__
    assert "s3cret" not in str(failed)


async def test_a_reason_that_utf8_cannot_hold_ends_a_task_all_the_same(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, [EndsAtOnce()]) as worker:
        task = worker.jobs.task(EndsAtOnce, queue)
        await task.send(1)
        await client.get_workflow_handle(task.instance_id).result()
        events = await eventually(lambda: all_of(worker, task.instance_id, TASK))
    assert events[-1]["reason"] == "for ?"
