"""Definitions for the tests of machines. Their handlers are never called: a script says."""

from datetime import timedelta
from typing import Any, TypeVar

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    Retry,
    TaskJob,
    TaskRun,
)
from durable_jobs.definitions import Job
from durable_jobs.definitions.task import RunFailure
from durable_jobs.definitions.worker_pool import WorkerPoolJob, WorkerPoolRun
from tests.support.scripted_worker import Script, ScriptedWorker
from tests.support.simulation import Simulation

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
REFUSED = 13
"""An event that is a multiple of it does not fit a debounce."""

J = TypeVar("J", bound=Job)


class Digest(DebounceJob[int, list[int]]):
    name = "digest"
    flush_after = 5 * SECOND
    retry = Retry(initial=10 * SECOND, backoff="fixed", jitter=False)

    def reduce(self, state: list[int] | None, event: int) -> list[int]:
        if event % REFUSED == 0:
            raise ValueError("an unlucky number")
        return [*(state or []), event]

    async def execute(self, run: DebounceRun[list[int]]) -> None: ...


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(MINUTE)
    retry = Retry(initial=10 * SECOND, backoff="fixed", jitter=False)

    async def execute(self, run: ContinuousRun[int]) -> None: ...


class Triage(TaskJob[int, int, str]):
    name = "triage"
    retry = Retry(max_attempts=3, initial=10 * SECOND, backoff="fixed", jitter=False)

    async def on_event(self, run: TaskRun[int], event: int) -> str: ...  # type: ignore[empty-body]

    async def execute(self, run: TaskRun[int]) -> None: ...


class Careful(Triage):
    name = "careful"

    async def on_error(self, run: TaskRun[int], error: RunFailure) -> None: ...

    async def on_idle(self, run: TaskRun[int]) -> None: ...


class Deliver(WorkerPoolJob[int]):
    name = "deliver"
    concurrency = 5
    retry = Retry(max_attempts=3, initial=10 * SECOND, backoff="fixed", jitter=False)

    async def execute(self, run: WorkerPoolRun[int]) -> None: ...


class Lettered(Deliver):
    name = "lettered"

    async def on_dead_letter(self, run: WorkerPoolRun[int], error: RunFailure) -> None: ...

    async def on_empty(self, run: WorkerPoolRun[None]) -> None: ...


def with_options(base: type[J], **options: Any) -> J:
    """A job of a class with other options."""
    return type(base.__name__, (base,), options)()


def simulated(
    job: Job, script: Script | None = None, key: str = "0", **given: Any
) -> tuple[Simulation, ScriptedWorker]:
    """An instance of a job, and the worker that makes its attempts."""
    worker = ScriptedWorker(job) if script is None else ScriptedWorker(job, script)
    return Simulation(job, key, worker=worker, **given), worker


def in_turn(*words: str) -> Script:
    """A script that says these words one after another, then `ok`."""
    left = list(words)
    return lambda request: left.pop(0) if left else "ok"
