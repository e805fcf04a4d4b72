"""One small job of each type, for tests that look at what callers send."""

from datetime import timedelta

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.definitions import Job
from tests.support.jobs import QUICK, at_most
from tests.support.scripted import Book, Push, Total


class Held(DebounceJob[Push, Total]):
    """Flushes only when told to."""

    name = "held"
    flush_after = timedelta(hours=1)
    retry = QUICK

    def __init__(self, book: Book) -> None:
        self.book = book

    def reduce(self, state: Total | None, event: Push) -> Total:
        return Total(ns=[*(state.ns if state else []), event.n])

    async def execute(self, run: DebounceRun[Total]) -> None:
        await self.book.play("execute", run)


class Count(ContinuousJob[Total]):
    """Runs when triggered."""

    name = "count"
    schedule = Every(timedelta(hours=1))
    start_immediately = False

    async def execute(self, run: ContinuousRun[Total]) -> None:
        run.state.ns.append(run.run_count)


class Note(TaskJob[Push, Total, int]):
    """Notes the number of each event, 0 for an alarm."""

    name = "note"

    def on_event(self, run: TaskRun[Total], event: Push) -> int:
        run.state.ns.append(event.n)
        return len(run.state.ns)

    def execute(self, run: TaskRun[Total]) -> None:
        run.state.ns.append(0)


class Ship(WorkerPoolJob[Push]):
    """Fails for good with a negative number."""

    name = "ship"
    concurrency = 1_000
    """So that tests have instances of their own."""

    retry = at_most(1)

    def execute(self, run: WorkerPoolRun[Push]) -> None:
        if run.event.n < 0:
            raise ValueError("no such thing")


def simple_jobs(book: Book | None = None) -> list[Job]:
    """One of each type."""
    return [Held(book or Book()), Count(), Note(), Ship()]
