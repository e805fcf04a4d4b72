"""A worker process that kills itself between two handlers, at a point that history has reached.

    python -m tests.support.mortal TARGET QUEUE FOLDER COLLECTOR_URL [POINT]

Its instances continue as new every few events.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker._workflow_instance import (
    _WorkflowInstanceImpl,  # pyright: ignore[reportPrivateUsage]
)

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Every,
    JobsPlugin,
    Retry,
    RetryAfter,
    TaskJob,
    TaskRun,
)
from durable_jobs.tracking import HttpSink, Tracking
from durable_jobs.workflows import carry
from tests.support.kill_worker import BEAT, Notebook

SECOND = timedelta(seconds=1)
LONG = 25
"""History events after which an instance continues as new."""

WAIT, LONG_WAIT = timedelta(seconds=0.6), timedelta(seconds=4)
"""For an alarm, a chosen tick, a second attempt; long where a test is to see it."""

FEW = Retry(max_attempts=10)


class Book(Notebook):
    """A notebook whose `hold` makes waits long."""

    @property
    def wait(self) -> timedelta:
        """How long to wait for what comes next."""
        return LONG_WAIT if self.held else WAIT


class Course(TaskJob[str, list[str]]):
    """An event sets the alarm, whose handler needs two attempts; "last" ends it."""

    name = "course"
    heartbeat_timeout = BEAT
    retry = FEW

    def __init__(self, book: Book) -> None:
        self._book = book

    async def _note(self, run: TaskRun[list[str]], handler: str) -> None:
        run.state.append(handler)
        await self._book.note(run, f"{handler} ")

    async def on_event(self, run: TaskRun[list[str]], event: str) -> None:
        await self._note(run, event)
        if event == "first":
            run.schedule(self._book.wait)
        if event == "last":
            run.terminate("done")

    async def execute(self, run: TaskRun[list[str]]) -> None:
        await self._note(run, "alarm")
        if not run.is_retry:
            raise RetryAfter(self._book.wait, "not yet")

    async def on_idle(self, run: TaskRun[list[str]]) -> None:
        await self._note(run, "idle")


class Rounds(ContinuousJob[list[int]]):
    """Five ticks, of which the second needs two attempts, and the third chooses the fourth."""

    name = "rounds"
    schedule = Every(SECOND)
    catch_up = "all"
    heartbeat_timeout = BEAT
    retry = FEW

    def __init__(self, book: Book) -> None:
        self._book = book

    async def execute(self, run: ContinuousRun[list[int]]) -> None:
        run.state.append(run.run_count)
        # What follows a chosen tick is due by the time that it was chosen.
        due = run.due_at.isoformat() if run.run_count <= 3 else "later"
        await self._book.note(run, f"{due} ")
        if run.run_count == 2 and not run.is_retry:
            raise RetryAfter(self._book.wait, "not yet")
        if run.run_count == 3:
            run.next_in(self._book.wait)
        if run.run_count == 5:
            run.terminate("done")


def mortal_jobs(folder: Path) -> list[Any]:
    """One of each."""
    book = Book(folder)
    return [Course(book), Rounds(book)]


def _is_begun(act: WorkflowActivation) -> bool:
    return any(job.HasField("initialize_workflow") for job in act.jobs)


def _has_fired(act: WorkflowActivation) -> bool:
    return any(job.HasField("fire_timer") for job in act.jobs)


def _has_failure(act: WorkflowActivation) -> bool:
    results = [job.resolve_activity for job in act.jobs if job.HasField("resolve_activity")]
    return any(resolved.result.HasField("failed") for resolved in results)


def _has_result(act: WorkflowActivation) -> bool:
    results = [job.resolve_activity for job in act.jobs if job.HasField("resolve_activity")]
    return any(resolved.result.HasField("completed") for resolved in results)


def _is_continued(act: WorkflowActivation) -> bool:
    begun = [job.initialize_workflow for job in act.jobs if job.HasField("initialize_workflow")]
    return any(job.continued_from_execution_run_id for job in begun)


POINTS: dict[str, Callable[[WorkflowActivation], bool]] = {
    "it has begun": _is_begun,
    "a result is in history": _has_result,
    "a failure is in history": _has_failure,
    "a timer has fired": _has_fired,
    "a new run has begun": _is_continued,
}
"""What history has when the worker dies, before it has answered with what comes next."""

CONTINUING = "continue-as-new is decided"


def die_at(point: str) -> None:
    """Kill this process at a point of any instance."""
    passed_on = _WorkflowInstanceImpl.activate

    def activate(
        self: _WorkflowInstanceImpl, act: WorkflowActivation
    ) -> WorkflowActivationCompletion:
        if point in POINTS and POINTS[point](act):
            _die()
        done = passed_on(self, act)
        commands = done.successful.commands
        if point == CONTINUING and any(
            command.HasField("continue_as_new_workflow_execution") for command in commands
        ):
            _die()
        return done

    setattr(_WorkflowInstanceImpl, "activate", activate)  # noqa: B010


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(target: str, queue: str, folder: str, url: str, point: str = "") -> None:
    """Work until killed."""
    setattr(carry, "MAX_HISTORY_EVENTS", LONG)  # noqa: B010
    die_at(point)
    jobs = mortal_jobs(Path(folder))
    async with Worker(
        await Client.connect(target),
        task_queue=queue,
        plugins=[JobsPlugin(jobs, Tracking(HttpSink(url)))],
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=500),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
