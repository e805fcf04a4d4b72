"""The pools of these tests: each notes what it was called with, and does what a test wants."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from pydantic import BaseModel

from durable_jobs import NonRetryable, RunFailure, WorkerPoolJob, WorkerPoolRun
from tests.support.jobs import at_most


class Hook(BaseModel):
    """An event: for which receiver, and which of its own."""

    to: str = "a"
    n: int = 0


Script = Callable[[WorkerPoolRun[Hook]], Awaitable[None]]


@dataclass
class Notes:
    """What a pool did."""

    runs: list[WorkerPoolRun[Hook]] = field(default_factory=list[WorkerPoolRun[Hook]])
    """All attempts, in the order of their beginning."""

    done: list[Hook] = field(default_factory=list[Hook])
    dead: list[tuple[Hook, RunFailure]] = field(default_factory=list[tuple[Hook, RunFailure]])
    empty: list[int] = field(default_factory=list[int])
    """The indexes of instances that ran dry."""

    most: int = 0
    """Events that were under way at a time."""

    def numbers(self, to: str | None = None) -> list[int]:
        """The numbers of the events done, or of those for one receiver."""
        return [hook.n for hook in self.done if to in (None, hook.to)]

    def indexes(self) -> list[int]:
        """The instance of each attempt."""
        return [run.index for run in self.runs]


class Deliver(WorkerPoolJob[Hook]):
    """Delivers to receivers; `script` says what an attempt does."""

    name = "deliver"
    concurrency = 3
    retry = at_most(3)

    def __init__(self, script: Script | None = None) -> None:
        self.notes = Notes()
        self._script = script
        self._under_way = 0

    async def execute(self, run: WorkerPoolRun[Hook]) -> None:
        self.notes.runs.append(run)
        self._under_way += 1
        self.notes.most = max(self.notes.most, self._under_way)
        try:
            if self._script is not None:
                await self._script(run)
        finally:
            self._under_way -= 1
        self.notes.done.append(run.event)


class Watched(Deliver):
    """Hears of failed events and of an empty queue."""

    name = "watched"
    concurrency = 1

    async def on_dead_letter(self, run: WorkerPoolRun[Hook], error: RunFailure) -> None:
        self.notes.dead.append((run.event, error))

    async def on_empty(self, run: WorkerPoolRun[None]) -> None:
        self.notes.empty.append(run.index)


Pool = TypeVar("Pool", bound=type[Deliver])


def fresh(pool: Pool, **options: object) -> Pool:
    """The same pool under a name that no other test uses, with other options."""
    given = {"name": f"{pool.name}-{uuid.uuid4().hex[:8]}", **options}
    return cast("Pool", type(pool.__name__, (pool,), given))


class Gate:
    """Holds attempts back until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, run: WorkerPoolRun[Hook]) -> None:
        await self.opened.wait()


class Flaky:
    """Fails with negative numbers for as long as it is broken."""

    def __init__(self, *, final: bool = False) -> None:
        self.broken = True
        self._final = final

    async def __call__(self, run: WorkerPoolRun[Hook]) -> None:
        if self.broken and run.event.n < 0:
            text = f"no receiver for {run.event.n}"
            raise NonRetryable(text) if self._final else ConnectionError(text)
