"""One small job of each type, for the tests of the blocking client."""

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
    collect,
)


class Letters(DebounceJob[str, list[str]]):
    """Flushes only when told to."""

    name = "letters"
    flush_after = timedelta(hours=1)
    reduce = collect

    async def execute(self, run: DebounceRun[list[str]]) -> None: ...


class Meter(ContinuousJob[int]):
    """Runs when triggered."""

    name = "meter"
    schedule = Every(timedelta(hours=1))
    start_immediately = False

    async def execute(self, run: ContinuousRun[int]) -> None: ...


class Thread(TaskJob[str, int, str]):
    """Counts its events."""

    name = "thread"

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: str) -> str:
        run.state += 1
        return f"{event} is number {run.state}"

    async def execute(self, run: TaskRun[int]) -> None: ...


class Pool(WorkerPoolJob[str]):
    """Takes events."""

    name = "pool"
    concurrency = 2

    async def execute(self, run: WorkerPoolRun[str]) -> None: ...
