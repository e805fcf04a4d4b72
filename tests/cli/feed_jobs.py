"""Jobs that the feeding commands load by their reference."""

from datetime import date, timedelta

from pydantic import BaseModel

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

HOUR = timedelta(hours=1)


class Push(BaseModel):
    repo: str
    on: date


class Pushes(DebounceJob[Push, list[Push]]):
    name = "pushes"
    flush_after = HOUR
    reduce = collect

    async def execute(self, run: DebounceRun[list[Push]]) -> None: ...


class Adder(TaskJob[int, int, int]):
    name = "adder"

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: int) -> int:
        run.state += event
        return run.state

    async def execute(self, run: TaskRun[int]) -> None: ...


class Cursor(BaseModel):
    page: int


class Pages(ContinuousJob[Cursor]):
    name = "pages"
    schedule = Every(HOUR)
    start_immediately = False

    def initial_state(self, key: str) -> Cursor:
        return Cursor(page=0)

    async def execute(self, run: ContinuousRun[Cursor]) -> None: ...


class Letters(WorkerPoolJob[str]):
    name = "letters"
    concurrency = 3

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []

    async def execute(self, run: WorkerPoolRun[str]) -> None:
        self.sent.append((run.index, run.event))


jobs = [Pushes(), Adder(), Pages(), Letters()]
