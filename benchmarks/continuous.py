"""Continuous jobs against the smallest workflow by hand that ticks with a state, side by side.

    make bench-continuous ARGS="--seconds 5"

"Back to back": instances that are always due, as fast as they go. "Lateness": instances that are
due every second, at a load that the server carries. Each tick adds one to the instance's state:
at the end it must be as many as were run.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_jobs import ContinuousJob, ContinuousRun, Every, JobClient, JobsPlugin
from durable_jobs.tracking import MemorySink, Tracking

from .by_hand import BY_HAND
from .frame import Asked, Findings, command, in_turns, stage
from .history import MAX_EVENTS
from .load import Board, Span
from .ours import OURS
from .turns import Turns, rows_of

FAST, LATE = "ticks, 16 instances back to back", "lateness, 20 ticks/s"
INSTANCES = {FAST: 16, LATE: 20}
EVERY = {FAST: timedelta(milliseconds=1), LATE: timedelta(seconds=1)}
SAMPLE = 4


class Ticker(Protocol):
    """One of those compared."""

    board: Board

    async def start(self, key: str) -> None:
        """Start an instance."""
        ...

    async def end(self, key: str) -> int:
        """End an instance; gives its state, the number of its ticks."""
        ...

    def instance(self, key: str) -> str:
        """The ID of its workflow."""
        ...


# -- this library


class Count(ContinuousJob[int]):
    """Counts its ticks."""

    name = "count"
    schedule = Every(timedelta(seconds=1))

    def __init__(self, board: Board) -> None:
        self.board = board

    def initial_state(self, key: str) -> int:
        """None yet."""
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        """Note the tick."""
        self.board.note(run.key, due=run.due_at)
        run.state += 1


class _Ours:
    def __init__(self, client: Client, jobs: JobClient, kind: type[Count], board: Board) -> None:
        self._client, self._jobs, self._kind = client, jobs, kind
        self.board = board

    async def start(self, key: str) -> None:
        await self._jobs.continuous(self._kind, key).start()

    async def end(self, key: str) -> int:
        handle = self._jobs.continuous(self._kind, key)
        await handle.terminate()
        await self._client.get_workflow_handle(self.instance(key)).result()
        return await handle.state() or 0

    def instance(self, key: str) -> str:
        return f"continuous:count:{key}"


@asynccontextmanager
async def ours(
    client: Client, every: timedelta, tracking: Tracking | None = None, *, tracked: bool = True
) -> AsyncIterator[Ticker]:
    """With a worker of its own."""
    board, queue = Board(), f"count-{uuid4().hex[:8]}"
    kind = type("Count", (Count,), {"schedule": Every(every)})
    sent = (tracking or Tracking(MemorySink())) if tracked else None
    async with Worker(client, task_queue=queue, plugins=[JobsPlugin([kind(board)], sent)]):
        yield _Ours(client, JobClient(client, task_queue=queue), kind, board)


# -- by hand


@workflow.defn
class HandTicks:
    """The smallest that ticks at fixed times for ever, with a state and a bounded history."""

    @workflow.init
    def __init__(self, key: str, every: float, begun: float | None, state: int) -> None:
        self._state = state

    @workflow.query
    def state(self) -> int:
        """How many ticks there were."""
        return self._state

    @workflow.run
    async def run(self, key: str, every: float, begun: float | None, state: int) -> None:
        """Tick after tick; times in seconds."""
        due = begun = begun or workflow.time()
        while not workflow.info().is_continue_as_new_suggested():
            wait = due - workflow.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._state = await workflow.execute_activity(
                "tick",
                args=[key, due, self._state],
                result_type=int,
                start_to_close_timeout=timedelta(minutes=1),
            )
            due = begun + every * ((workflow.time() - begun) // every + 1)
        workflow.continue_as_new(args=[key, every, begun, self._state])


class _ByHand:
    def __init__(self, client: Client, board: Board, queue: str, every: timedelta) -> None:
        self._client, self._queue, self._every = client, queue, every
        self.board = board

    async def start(self, key: str) -> None:
        await self._client.start_workflow(
            HandTicks.run,
            args=[key, self._every.total_seconds(), None, 0],
            id=self.instance(key),
            task_queue=self._queue,
        )

    async def end(self, key: str) -> int:
        handle = self._client.get_workflow_handle(self.instance(key))
        await handle.terminate()
        return await handle.query(HandTicks.state)

    def instance(self, key: str) -> str:
        return f"hand-ticks:{key}"


@asynccontextmanager
async def by_hand(client: Client, every: timedelta) -> AsyncIterator[Ticker]:
    """With a worker of its own."""
    board, queue = Board(), f"hand-ticks-{uuid4().hex[:8]}"

    @activity.defn
    async def tick(key: str, due: float, state: int) -> int:
        board.note(key, due=datetime.fromtimestamp(due, UTC))
        return state + 1

    async with Worker(
        client,
        task_queue=queue,
        workflows=[HandTicks],
        activities=[tick],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield _ByHand(client, board, queue, every)


# -- the scenes


def ticking() -> Turns:
    """The turns of a system that ticks."""
    return Turns("tick", "late")


async def run_ticks(ticker: Ticker, turns: Turns, scene: str, seconds: float) -> int:
    """Let instances tick for a time, then end them; gives how many ticks they counted, each all."""
    board = ticker.board
    keys = [f"{uuid4().hex[:8]}-{number}" for number in range(INSTANCES[scene])]
    for number, key in enumerate(keys):
        await ticker.start(key)
        if scene == LATE:
            # Due at different times, as instances started by users are.
            await asyncio.sleep(EVERY[LATE].total_seconds() / len(keys) * (number % 2 + 0.5))
    await board.until("the first ticks", lambda: all(board.done[key] for key in keys))
    began, before, late_before = time.perf_counter(), board.runs, len(board.late)
    await asyncio.sleep(seconds)
    turns.count += board.runs - before
    turns.seconds += board.late[late_before:]
    turns.spans.append(Span.since(began))
    ticks = 0
    for key in keys:
        counted = await ticker.end(key)
        ticks += counted
        # A tick that ran while its instance was ended may be uncounted, never the reverse.
        assert board.done[key] - 1 <= counted <= board.done[key], (key, counted, board.done[key])
    turns.sampled += [ticker.instance(key) for key in keys[:SAMPLE]]
    turns.sampled_count += sum(board.done[key] for key in keys[:SAMPLE])
    return ticks


async def main(asked: Asked) -> Findings:
    """Run both through both scenes."""
    findings = Findings()
    async with stage() as client:
        stands = {OURS: partial(ours, client), BY_HAND: partial(by_hand, client)}
        for scene in filter(asked.wants, (FAST, LATE)):
            turns = {name: ticking() for name in stands}
            for name in in_turns(*stands):
                async with stands[name](EVERY[scene]) as ticker:
                    await run_ticks(ticker, turns[name], scene, asked.seconds * 1.5)
            findings.rows += await rows_of(client, scene, turns)
    if asked.wants(FAST):
        ratio = findings.ratio(FAST, "ticks/s", OURS, BY_HAND)
        findings.promise("ticks/s, times Temporal by hand", ratio, 0.9)
    longest = max(int(row["longest history"] or 0) for row in findings.rows)
    findings.promise("longest history, events", longest, MAX_EVENTS, at_most=True)
    return findings


if __name__ == "__main__":
    command("continuous", "Continuous", main)
