"""The debounce of this library, with tracking on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import DebounceJob, DebounceRun, JobClient, JobsPlugin
from durable_jobs.tracking import MemorySink, Tracking

from .measure import WAIT, Board


class Numbers(DebounceJob[int]):
    """Keeps the latest number."""

    name = "numbers"
    flush_after = timedelta(seconds=WAIT)

    def __init__(self, board: Board) -> None:
        self.board = board

    async def execute(self, run: DebounceRun[int]) -> None:
        """Note the window."""
        self.board.note(run.key, run.event_count)


class Ours:
    """See `System`."""

    name = "durable-jobs"
    keeps_all = True

    def __init__(self, client: Client, jobs: JobClient, board: Board) -> None:
        self._client = client
        self._jobs = jobs
        self.board = board

    async def add(self, key: str, number: int) -> None:
        """See `System`."""
        await self._jobs.debounce(Numbers, key).add(number)

    async def history_of(self, key: str) -> int | None:
        """See `System`."""
        handle = self._client.get_workflow_handle(f"debounce:numbers:{key}")
        return (await handle.describe()).history_length


@asynccontextmanager
async def ours(client: Client) -> AsyncIterator[Ours]:
    """With a worker of its own."""
    board = Board()
    plugin = JobsPlugin([Numbers(board)], Tracking(MemorySink()))
    async with Worker(client, task_queue="ours", plugins=[plugin]):
        yield Ours(client, JobClient(client, task_queue="ours"), board)
