"""Jobs that say which version of a worker ran them; the second version has other options."""

import os
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
from durable_jobs.versions import BUILD

VERSION = os.environ.get(BUILD)
FIRST, SECOND = "2026-12-01.1", "2026-12-01.2"
CHANGED = VERSION == SECOND


def say(instance_id: str, number: int) -> None:
    """Tell the test what was done, and by which version."""
    print("done", VERSION, instance_id, number, flush=True)  # noqa: T201


class Poll(ContinuousJob[int]):
    name = "versioned-poll"
    schedule = Every(timedelta(seconds=0.5 if CHANGED else 0.4))

    async def execute(self, run: ContinuousRun[int]) -> None:
        say(run.instance_id, run.run_count)


class Gather(DebounceJob[list[int], list[int]]):
    name = "versioned-gather"
    flush_after = timedelta(seconds=2.5 if CHANGED else 3)

    def reduce(self, state: list[int] | None, event: list[int]) -> list[int]:
        return [*(state or []), *event]

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        for number in run.state:
            say(run.instance_id, number)


class Thread(TaskJob[int, int]):
    name = "versioned-thread"

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: int) -> None:
        say(run.instance_id, event)

    async def execute(self, run: TaskRun[int]) -> None:
        """No alarm is ever set."""


class Deliver(WorkerPoolJob[int]):
    name = "versioned-deliver"
    concurrency = 2

    async def execute(self, run: WorkerPoolRun[int]) -> None:
        say(run.instance_id, run.event)


jobs = [Poll(), Gather(), Thread(), Deliver()]
