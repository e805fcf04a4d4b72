"""What follows a run of a task that has failed for good."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from durable_jobs import NonRetryable, RunFailure, TaskJob, TaskRun
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import (
    at_most,
    new_key,
    result_of,
    running_worker,
    status_of,
    until_settled,
    until_status,
)


@dataclass
class Log:
    """What an instance has done."""

    lines: list[str] = field(default_factory=list)


class Picky(TaskJob[str, Log, int]):
    """Fails with what it is told to refuse, in any handler."""

    name = "picky"
    retry = at_most(2)

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.runs: list[tuple[str, int, int]] = []

    def handle(self, what: str, run: TaskRun[Log]) -> None:
        self.runs.append((what, run.run_count, run.attempt))
        run.state.lines.append(what)
        if what in self.refused:
            raise ValueError(f"no {what}")

    async def on_event(self, run: TaskRun[Log], event: str) -> int:
        self.handle(event, run)
        if event == "alarm":
            run.schedule(timedelta())
        return run.event_count

    async def execute(self, run: TaskRun[Log]) -> None:
        self.handle("execute", run)


class Repairing(Picky):
    """The same, with what a test does on an error."""

    name = "repairing"

    def __init__(self, *refused: str) -> None:
        super().__init__(*refused)
        self.failures: list[RunFailure] = []

    async def on_error(self, run: TaskRun[Log], error: RunFailure) -> None:
        self.failures.append(error)
        self.repair(run)

    def repair(self, run: TaskRun[Log]) -> None:
        """Does nothing."""


# -- on_exhausted ---------------------------------------------------------------------------


async def test_continue_sets_the_failed_event_aside_and_goes_on(client: Client, queue: str) -> None:
    job = Picky("bad")
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Picky, new_key())
        before = datetime.now(UTC) - timedelta(seconds=1)
        for number, event in enumerate(["good", "bad", "better"]):
            await picky.send(event, id=f"event-{number}")
        await eventually(lambda: len(job.runs) == 4)
        status = await until_settled(picky)
        assert job.runs == [("good", 1, 1), ("bad", 2, 1), ("bad", 2, 2), ("better", 3, 1)]
        assert await picky.state() == Log(["good", "better"])
        [failed] = status.failed_events
        assert failed["event"] == {"data": "bad", "id": "event-1"}
        assert (failed["error"], failed["attempts"]) == ("ValueError: no bad", 2)
        assert before < datetime.fromisoformat(failed["at"]) < datetime.now(UTC)
        assert (status.run_count, status.event_count) == (3, 0)
        await picky.terminate()


async def test_a_failed_event_is_dropped_when_it_comes_again_with_its_id(
    client: Client, queue: str
) -> None:
    job = Picky("bad")
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Picky, new_key())
        await picky.send("bad", id="event-1")
        await eventually(lambda: len(job.runs) == 2)
        await picky.send("bad", id="event-1")
        await picky.send("good")
        await eventually(lambda: len(job.runs) == 3)
        assert len((await until_settled(picky)).failed_events) == 1
        await picky.terminate()


async def test_continue_after_a_failed_alarm_waits_for_what_comes(
    client: Client, queue: str
) -> None:
    job = Picky("execute")
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Picky, new_key())
        await picky.send("alarm")
        await eventually(lambda: len(job.runs) == 3)
        status = await until_status(picky, "idle")
        assert (status.last_error, status.failed_events) == ("ValueError: no execute", ())
        assert await picky.ask("good") == 2
        await picky.terminate()


async def test_pause_keeps_the_event_first_in_line_until_resume(client: Client, queue: str) -> None:
    counts: list[tuple[int, bool]] = []

    class Pausing(Picky):
        on_exhausted = "pause"

        async def on_event(self, run: TaskRun[Log], event: str) -> int:
            counts.append((run.event_count, run.is_first_event))
            return await super().on_event(run, event)

    job = Pausing("first")
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Pausing, new_key())
        await picky.send("first")
        await picky.send("second")
        status = await until_status(picky, "paused")
        assert (status.event_count, status.last_error) == (2, "ValueError: no first")
        assert not status.failed_events
        job.refused.clear()
        await picky.resume()
        await eventually(lambda: len(job.runs) == 4)
        assert (await until_settled(picky)).last_error is None
        assert job.runs[2:] == [("first", 2, 1), ("second", 3, 1)]
        assert counts[2:] == [(1, True), (2, False)]
        assert await picky.state() == Log(["first", "second"])
        await picky.terminate()


async def test_pause_lets_resume_run_a_failed_alarm_anew(client: Client, queue: str) -> None:
    counts: list[int] = []

    class Pausing(Picky):
        on_exhausted = "pause"

        async def execute(self, run: TaskRun[Log]) -> None:
            counts.append(run.execute_count)
            await super().execute(run)

    job = Pausing("execute")
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Pausing, new_key())
        await picky.send("alarm")
        await until_status(picky, "paused")
        job.refused.clear()
        await picky.resume()
        await eventually(lambda: len(counts) == 3)
        await until_settled(picky)
        assert counts == [1, 1, 1]
        assert await picky.state() == Log(["alarm", "execute"])
        await picky.terminate()


async def test_pause_lets_resume_run_a_failed_on_idle_anew(client: Client, queue: str) -> None:
    class Pausing(Picky):
        on_exhausted = "pause"

        async def on_idle(self, run: TaskRun[Log]) -> None:
            self.handle("idle", run)

    job = Pausing("idle")
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Pausing, new_key())
        await picky.send("event")
        await until_status(picky, "paused")
        job.refused.clear()
        await picky.resume()
        await eventually(lambda: len(job.runs) == 4)
        await until_settled(picky)
        assert await picky.state() == Log(["event", "idle"])
        await picky.terminate()


async def test_terminate_fails_the_workflow_and_discards_what_waits(
    client: Client, queue: str
) -> None:
    class Ending(Picky):
        on_exhausted = "terminate"

    sink = MemorySink()
    job = Ending("bad")
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        picky = jobs.task(Ending, new_key())
        await picky.send("good")
        await until_settled(picky)
        await picky.send("bad")
        with pytest.raises(WorkflowFailureError) as failed:
            await result_of(client, picky.instance_id)
        assert isinstance(error := failed.value.cause, ApplicationError)
        assert error.message == "Retry exhausted after 2 attempts"
        assert isinstance(cause := error.cause, ApplicationError)
        assert (cause.type, cause.message) == ("ValueError", "no bad")
        description = await client.get_workflow_handle(picky.instance_id).describe()
        assert description.status is WorkflowExecutionStatus.FAILED
        assert (await status_of(picky)).status == "failed"
        assert await picky.state() == Log(["good"])
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    ended = sink.events[-1]
    assert ended["reason"] == "Retry exhausted after 2 attempts"
    assert (ended["runCount"], ended["discardedEvents"]) == (2, 1)


async def test_an_error_that_no_retry_can_help_is_set_aside_at_once(
    client: Client, queue: str
) -> None:
    class Refusing(Picky):
        async def on_event(self, run: TaskRun[Log], event: str) -> int:
            self.handle(event, run)
            raise NonRetryable("never")

    job = Refusing()
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Refusing, new_key())
        await picky.send("event")
        await eventually(lambda: job.runs)
        status = await until_settled(picky)
        assert [event["attempts"] for event in status.failed_events] == [1]
        await picky.terminate()


async def test_the_failed_events_that_are_kept_are_bounded(client: Client, queue: str) -> None:
    class Once(Picky):
        retry = at_most(1)

    big = "x" * 100_000
    job = Once(big)
    async with running_worker(client, queue, job) as jobs:
        picky = jobs.task(Once, new_key())
        for _ in range(25):
            await picky.send(big)
        await eventually(lambda: len(job.runs) == 25)
        status = await until_settled(picky)
        assert 1 <= len(status.failed_events) <= 3
        await picky.terminate()


# -- on_error -------------------------------------------------------------------------------


async def test_on_error_is_called_once_with_what_failed(client: Client, queue: str) -> None:
    job = Repairing("bad")
    async with running_worker(client, queue, job) as jobs:
        task = jobs.task(Repairing, new_key())
        await task.send("good")
        await task.send("bad")
        await task.send("better")
        await eventually(lambda: len(job.runs) == 4)
        status = await until_settled(task)
        assert job.failures == [RunFailure("on_event", "no bad", "ValueError", 2, "bad")]
        assert len(status.failed_events) == 1
        assert status.run_count == 4
        await task.terminate()


async def test_on_error_hears_of_a_failed_alarm(client: Client, queue: str) -> None:
    job = Repairing("execute")
    async with running_worker(client, queue, job) as jobs:
        task = jobs.task(Repairing, new_key())
        await task.send("alarm")
        await eventually(lambda: job.failures)
        assert job.failures == [RunFailure("execute", "no execute", "ValueError", 2, None)]
        await task.terminate()


async def test_on_error_may_repair_the_state_and_set_the_alarm(client: Client, queue: str) -> None:
    class Rescheduling(Repairing):
        def repair(self, run: TaskRun[Log]) -> None:
            self.refused.clear()
            run.state.lines.append("repaired")
            run.schedule(timedelta())

    sink = MemorySink()
    job = Rescheduling("execute")
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        task = jobs.task(Rescheduling, new_key())
        await task.send("alarm")
        await eventually(lambda: len(job.runs) == 4)
        await until_settled(task)
        assert await task.state() == Log(["alarm", "repaired", "execute"])
        await task.terminate()
        await result_of(client, task.instance_id)
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    assert [e["trigger"] for e in sink.events if e["type"] == "task.scheduled"] == [
        "event",
        "error",
    ]


@pytest.mark.parametrize("on_exhausted", ["continue", "pause", "terminate"])
async def test_on_error_may_end_the_instance_before_on_exhausted(
    client: Client, queue: str, on_exhausted: Any
) -> None:
    class Giving(Repairing):
        def repair(self, run: TaskRun[Log]) -> None:
            run.terminate("given up")

    Giving.on_exhausted = on_exhausted
    async with running_worker(client, queue, Giving("bad")) as jobs:
        task = jobs.task(Giving, new_key())
        await task.send("bad")
        assert await result_of(client, task.instance_id) == {
            "status": "terminated",
            "reason": "given up",
            "runCount": 2,
            "discardedEvents": 1,
        }


async def test_an_on_error_that_fails_leaves_on_exhausted_to_take_effect(
    client: Client, queue: str
) -> None:
    class Hopeless(Repairing):
        def repair(self, run: TaskRun[Log]) -> None:
            run.state.lines.append("never kept")
            raise ValueError("no repair")

    job = Hopeless("bad")
    async with running_worker(client, queue, job) as jobs:
        task = jobs.task(Hopeless, new_key())
        await task.send("bad")
        await task.send("good")
        await eventually(lambda: len(job.runs) == 3)
        status = await until_settled(task)
        assert [event["error"] for event in status.failed_events] == ["ValueError: no bad"]
        assert [failure.handler for failure in job.failures] == ["on_event"] * 2
        assert await task.state() == Log(["good"])
        await task.terminate()


async def test_on_error_is_not_called_for_a_failed_attempt_that_is_tried_again(
    client: Client, queue: str
) -> None:
    class Recovering(Repairing):
        async def on_event(self, run: TaskRun[Log], event: str) -> int:
            if run.is_retry:
                self.refused.clear()
            return await super().on_event(run, event)

    job = Recovering("bad")
    async with running_worker(client, queue, job) as jobs:
        task = jobs.task(Recovering, new_key())
        assert await task.ask("bad") == 1
        assert not job.failures
        await task.terminate()
