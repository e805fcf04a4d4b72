"""The debounce that one writes by hand on Temporal: signal-with-start, a timer, an activity."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from .measure import WAIT, Board


@workflow.defn
class HandDebounce:
    """The smallest that loses nothing."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    @workflow.signal
    def add(self, number: int) -> None:
        """Gather an event."""
        self._numbers.append(number)

    @workflow.run
    async def run(self, key: str) -> None:
        """Wait and flush until nothing waits."""
        await workflow.wait_condition(lambda: bool(self._numbers))
        while self._numbers:
            await asyncio.sleep(WAIT)
            batch, self._numbers = self._numbers, []
            await workflow.execute_activity(
                "flush", args=[key, batch], start_to_close_timeout=timedelta(minutes=1)
            )


class ByHand:
    """See `System`."""

    name = "Temporal by hand"
    keeps_all = True

    def __init__(self, client: Client, board: Board, at_once: int) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(at_once)
        self.board = board

    async def add(self, key: str, number: int) -> None:
        """See `System`."""
        async with self._slots:
            await self._client.start_workflow(
                HandDebounce.run,
                key,
                id=f"hand:{key}",
                task_queue="by-hand",
                start_signal="add",
                start_signal_args=[number],
            )

    async def history_of(self, key: str) -> int | None:
        """See `System`."""
        return (await self._client.get_workflow_handle(f"hand:{key}").describe()).history_length


@asynccontextmanager
async def by_hand(client: Client, at_once: int) -> AsyncIterator[ByHand]:
    """With a worker of its own; at most `at_once` calls in flight."""
    board = Board()

    @activity.defn
    async def flush(key: str, batch: list[int]) -> None:
        board.note(key, len(batch))

    async with Worker(
        client,
        task_queue="by-hand",
        workflows=[HandDebounce],
        activities=[flush],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield ByHand(client, board, at_once)
