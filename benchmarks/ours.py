"""The debounce of this library, with tracking on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import DebounceJob, DebounceRun, JobClient, JobsPlugin
from durable_jobs.tracking import MemorySink, Tracking

from .load import Board

OURS = "durable-jobs"


class Numbers(DebounceJob[int]):
    """Keeps the latest number."""

    name = "numbers"
    flush_after = timedelta(seconds=1)

    def __init__(self, board: Board) -> None:
        self.board = board

    async def execute(self, run: DebounceRun[int]) -> None:
        """Note the window."""
        due = run.window_opened_at + self.flush_after
        self.board.note(run.key, run.event_count, due)


def numbers(wait: float) -> type[Numbers]:
    """The job with a wait of its own."""
    return type("Numbers", (Numbers,), {"flush_after": timedelta(seconds=wait)})


class Ours:
    """A debounce by this library."""

    name = OURS
    keeps_all = True

    def __init__(self, jobs: JobClient, kind: type[Numbers], board: Board) -> None:
        self._jobs, self._kind = jobs, kind
        self.board = board

    async def add(self, key: str, number: int) -> None:
        """See `System`."""
        await self._jobs.debounce(self._kind, key).add(number)

    def instance(self, key: str) -> str:
        """See `System`."""
        return f"debounce:numbers:{key}"


@asynccontextmanager
async def ours(
    client: Client, wait: float, tracking: Tracking | None = None, *, tracked: bool = True
) -> AsyncIterator[Ours]:
    """With a worker of its own."""
    board, queue, kind = Board(), f"ours-{uuid4().hex[:8]}", numbers(wait)
    sent = (tracking or Tracking(MemorySink())) if tracked else None
    async with Worker(client, task_queue=queue, plugins=[JobsPlugin([kind(board)], sent)]):
        yield Ours(JobClient(client, task_queue=queue), kind, board)
