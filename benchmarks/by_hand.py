"""What one writes by hand on Temporal: the smallest workflows that do each job, and a worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from .load import Board

BY_HAND = "Temporal by hand"
AT_ONCE = 32
"""Calls in flight, where more bring no more."""

_MINUTE = timedelta(minutes=1)


@workflow.defn
class HandDebounce:
    """The smallest debounce that loses nothing."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    @workflow.signal
    def add(self, number: int) -> None:
        """Gather an event."""
        self._numbers.append(number)

    @workflow.run
    async def run(self, key: str, wait: float) -> None:
        """Wait and flush until nothing waits."""
        await workflow.wait_condition(lambda: bool(self._numbers))
        while self._numbers:
            await asyncio.sleep(wait)
            batch, self._numbers = self._numbers, []
            await workflow.execute_activity(
                "flush", args=[key, len(batch)], start_to_close_timeout=_MINUTE
            )


@workflow.defn
class HandWindow:
    """The smallest that waits, runs one activity and ends."""

    @workflow.run
    async def run(self, key: str, wait: float) -> None:
        """Wait and flush."""
        await asyncio.sleep(wait)
        await workflow.execute_activity("flush", args=[key, 1], start_to_close_timeout=_MINUTE)


@workflow.defn
class BareTimer:
    """A timer alone; says itself, outside of history, when it fired."""

    fired: Callable[[str, datetime], None]

    @workflow.run
    async def run(self, key: str, wait: float) -> None:
        """Wait."""
        due = workflow.now() + timedelta(seconds=wait)
        await asyncio.sleep(wait)
        type(self).fired(key, due)


WORKFLOWS = [HandDebounce, HandWindow, BareTimer]


class ByHand:
    """A debounce by hand."""

    name = BY_HAND
    keeps_all = True

    def __init__(self, client: Client, board: Board, queue: str, wait: float) -> None:
        self._client, self._queue, self._wait = client, queue, wait
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.board = board

    async def add(self, key: str, number: int) -> None:
        """See `System`."""
        async with self._slots:
            await self._client.start_workflow(
                HandDebounce.run,
                args=[key, self._wait],
                id=self.instance(key),
                task_queue=self._queue,
                start_signal="add",
                start_signal_args=[number],
            )

    def instance(self, key: str) -> str:
        """See `System`."""
        return f"hand:{key}"

    async def start(self, kind: Any, key: str) -> None:
        """Start a workflow that waits for itself."""
        await self._client.start_workflow(
            kind.run,
            args=[key, self._wait],
            id=self.instance(key),
            task_queue=self._queue,
        )


def flushing(board: Board) -> Callable[[str, int], Awaitable[None]]:
    """The activity of all of them; notes runs on a board."""

    @activity.defn
    async def flush(key: str, count: int) -> None:
        board.note(key, count)

    return flush


@asynccontextmanager
async def by_hand(client: Client, wait: float) -> AsyncIterator[ByHand]:
    """With a worker of its own."""
    board, queue = Board(), f"by-hand-{uuid4().hex[:8]}"
    BareTimer.fired = staticmethod(lambda key, due: board.note(key, due=due))

    async with Worker(
        client,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=[flushing(board)],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield ByHand(client, board, queue, wait)
