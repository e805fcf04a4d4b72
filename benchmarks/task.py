"""Task jobs against the smallest workflow by hand that handles events in order, side by side.

    make bench-task ARGS="--seconds 5"

"One at a time": callers that send an event to their own instance and wait until it was handled.
"Burst": many events sent to one instance at once. "Ask": one caller that waits for each reply; by
hand it is an update that runs the activity. Each event adds one to the instance's state, and each
must have been handled once; ours in the order in which they were sent.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_jobs import JobClient, JobsPlugin, TaskJob, TaskRun
from durable_jobs.tracking import MemorySink, Tracking

from .by_hand import AT_ONCE, BY_HAND
from .frame import Asked, Findings, Row, command, in_turns, stage
from .history import MAX_EVENTS, Cost, ended
from .load import Board, Calls, Span, all_the_time
from .ours import OURS
from .turns import Turns, rows_of

SINGLE, BURST, ASK = "one at a time, 32 callers", "burst to one instance", "ask, one caller"
CALLERS = {SINGLE: 32, ASK: 1}
BURST_EVENTS = {OURS: 2_000, BY_HAND: 200}
"""By hand each event is an activity of its own, so that more would take minutes."""

SAMPLE = 8


class Entities(Protocol):
    """One of those compared."""

    board: Board
    handled: dict[str, list[int]]

    async def send(self, key: str, number: int) -> None:
        """Send an event; returns once it is durable."""
        ...

    async def ask(self, key: str, number: int) -> int:
        """Send an event and wait for the reply, the state after it."""
        ...

    async def end(self, key: str) -> None:
        """End an instance."""
        ...

    def instance(self, key: str) -> str:
        """The ID of its workflow."""
        ...


# -- this library


class Sum(TaskJob[int, int, int]):
    """Counts its events."""

    name = "sum"

    def __init__(self, board: Board, handled: dict[str, list[int]]) -> None:
        self.board, self.handled = board, handled

    def initial_state(self, key: str) -> int:
        """None yet."""
        return 0

    async def on_event(self, run: TaskRun[int], event: int) -> int:
        """Note the event; gives how many there were."""
        self.handled.setdefault(run.key, []).append(event)
        self.board.note(run.key)
        run.state += 1
        return run.state

    async def execute(self, run: TaskRun[int]) -> None:
        """No alarm is ever set."""


class _Ours:
    def __init__(self, jobs: JobClient, board: Board, handled: dict[str, list[int]]) -> None:
        self._jobs = jobs
        self.board, self.handled = board, handled

    async def send(self, key: str, number: int) -> None:
        await self._jobs.task(Sum, key).send(number)

    async def ask(self, key: str, number: int) -> int:
        return await self._jobs.task(Sum, key).ask(number)

    async def end(self, key: str) -> None:
        await self._jobs.task(Sum, key).terminate()

    def instance(self, key: str) -> str:
        return f"task:sum:{key}"


@asynccontextmanager
async def ours(client: Client) -> AsyncIterator[Entities]:
    """With a worker of its own, tracking on."""
    board, handled, queue = Board(), dict[str, list[int]](), f"sum-{uuid4().hex[:8]}"
    plugin = JobsPlugin([Sum(board, handled)], Tracking(MemorySink()))
    async with Worker(client, task_queue=queue, plugins=[plugin]):
        yield _Ours(JobClient(client, task_queue=queue), board, handled)


# -- by hand


@workflow.defn
class HandEntity:
    """The smallest that handles events in order, one at a time, and keeps a state."""

    def __init__(self) -> None:
        self._events: list[int] = []
        self._state = 0
        self._turn = asyncio.Lock()
        self._ended = False

    @workflow.signal
    def send(self, number: int) -> None:
        """Queue an event."""
        self._events.append(number)

    @workflow.update
    async def ask(self, key: str, number: int) -> int:
        """Handle an event now; gives the state after it."""
        return await self._handle(key, number)

    @workflow.signal
    def end(self) -> None:
        """End once nothing waits."""
        self._ended = True

    @workflow.run
    async def run(self, key: str) -> None:
        """Event after event."""
        while True:
            await workflow.wait_condition(lambda: bool(self._events) or self._ended)
            if not self._events:
                return
            await self._handle(key, self._events.pop(0))

    async def _handle(self, key: str, number: int) -> int:
        async with self._turn:
            self._state = await workflow.execute_activity(
                "handle",
                args=[key, number, self._state],
                result_type=int,
                start_to_close_timeout=timedelta(minutes=1),
            )
            return self._state


class _ByHand:
    def __init__(
        self, client: Client, queue: str, board: Board, handled: dict[str, list[int]]
    ) -> None:
        self._client, self._queue = client, queue
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.board, self.handled = board, handled

    async def send(self, key: str, number: int) -> None:
        async with self._slots:
            await self._client.start_workflow(
                HandEntity.run,
                key,
                id=self.instance(key),
                task_queue=self._queue,
                start_signal="send",
                start_signal_args=[number],
            )

    async def ask(self, key: str, number: int) -> int:
        start = WithStartWorkflowOperation(
            HandEntity.run,
            key,
            id=self.instance(key),
            task_queue=self._queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        return await self._client.execute_update_with_start_workflow(
            HandEntity.ask, args=[key, number], start_workflow_operation=start
        )

    async def end(self, key: str) -> None:
        await self._client.get_workflow_handle(self.instance(key)).signal(HandEntity.end)

    def instance(self, key: str) -> str:
        return f"hand-entity:{key}"


@asynccontextmanager
async def by_hand(client: Client) -> AsyncIterator[Entities]:
    """With a worker of its own."""
    board, handled, queue = Board(), dict[str, list[int]](), f"hand-sum-{uuid4().hex[:8]}"

    @activity.defn
    async def handle(key: str, number: int, state: int) -> int:
        handled.setdefault(key, []).append(number)
        board.note(key)
        return state + 1

    async with Worker(
        client,
        task_queue=queue,
        workflows=[HandEntity],
        activities=[handle],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield _ByHand(client, queue, board, handled)


# -- the scenes


class Handling(Turns):
    """The turns of a system that handles events."""

    def __init__(self) -> None:
        super().__init__("event", "handled")

    def note(self, calls: Calls, system: Entities, keys: list[str]) -> None:
        """Add one turn's figures."""
        self.count += len(calls.took)
        self.spans.append(calls.span)
        self.seconds += calls.took
        self.sampled += [system.instance(key) for key in keys[:SAMPLE]]
        self.sampled_count += sum(len(system.handled[key]) for key in keys[:SAMPLE])

    def row(self, scene: str, system: str, cost: Cost) -> Row:
        """The line of the table."""
        activities = cost.kinds.get("ACTIVITY_TASK_SCHEDULED", 0)
        shared = {"events/activity": round(self.sampled_count / activities, 1)}
        return super().row(scene, system, cost) | shared


async def _one_by_one(system: Entities, turns: Handling, scene: str, seconds: float) -> None:
    mark, callers = uuid4().hex[:8], CALLERS[scene]
    keys = [f"{mark}-{number}" for number in range(callers)]
    free = list(keys)

    async def one(number: int) -> None:
        key = free.pop()
        if scene == ASK:
            await system.ask(key, number)
        else:
            handled = system.board.next_run(key)
            await asyncio.gather(system.send(key, number), handled)
        free.append(key)

    calls = await all_the_time(one, callers, seconds)
    _check(system, keys, len(calls.took))
    turns.note(calls, system, keys)
    await _end(system, keys)


async def _burst(system: Entities, turns: Handling, name: str) -> None:
    key, count = uuid4().hex[:8], BURST_EVENTS[name]
    calls, began = Calls(), time.perf_counter()

    async def one(number: int) -> None:
        await system.send(key, number)

    sending = asyncio.gather(*(calls.timed(one(number)) for number in range(count)))
    await asyncio.gather(sending, system.board.until(name, lambda: system.board.done[key] >= count))
    calls.span = Span.since(began)
    _check(system, [key], count)
    if name == OURS:
        assert system.handled[key] == list(range(count)), "events were handled out of order"
    turns.note(calls, system, [key])
    await _end(system, [key])


def _check(system: Entities, keys: list[str], sent: int) -> None:
    handled = [number for key in keys for number in system.handled.get(key, [])]
    assert len(handled) == len(set(handled)) == sent, "an event was lost or handled twice"


async def _end(system: Entities, keys: list[str]) -> None:
    for key in keys:
        if key in system.handled:
            await system.end(key)


async def main(asked: Asked) -> Findings:
    """Run both through all scenes."""
    findings = Findings()
    async with stage() as client:
        stands = {OURS: partial(ours, client), BY_HAND: partial(by_hand, client)}
        for scene in filter(asked.wants, (SINGLE, BURST, ASK)):
            turns = {name: Handling() for name in stands}
            for name in in_turns(*stands):
                async with stands[name]() as system:
                    if scene == BURST:
                        await _burst(system, turns[name], name)
                    else:
                        await _one_by_one(system, turns[name], scene, asked.seconds)
                    await ended(client, turns[name].sampled)
            findings.rows += await rows_of(client, scene, turns)
    _promise(findings, asked)
    return findings


def _promise(findings: Findings, asked: Asked) -> None:
    for scene, limit in ((SINGLE, 0.9), (BURST, 0.9), (ASK, 0.85)):
        if asked.wants(scene):
            ratio = findings.ratio(scene, "events/s", OURS, BY_HAND)
            findings.promise(f"{scene}: events/s, times {BY_HAND}", ratio, limit)
    longest = max(int(row["longest history"] or 0) for row in findings.rows)
    findings.promise("longest history, events", longest, MAX_EVENTS, at_most=True)


if __name__ == "__main__":
    command("task", "Task", main)
