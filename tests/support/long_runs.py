"""Jobs of each type that never give up, and what tests of long runs ask of them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHistory

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    JobClient,
    JobsPlugin,
    Retry,
    TaskJob,
    TaskRun,
)
from durable_jobs.handles.base import Handle
from tests.support import eventually
from tests.support.jobs import new_key, status_of
from tests.support.lives import assert_replays, histories_of

Script = Callable[[Any], Awaitable[None]]
HOUR = timedelta(hours=1)
SOON = timedelta(seconds=1)
"""Three heartbeats in this time: so soon an attempt hears that it is cancelled."""

AT_ONCE = Retry(initial=timedelta(milliseconds=1), backoff="fixed", jitter=False)


class Notes:
    """What attempts were made, and what they do."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.attempts: list[Any] = []

    async def note(self, run: Any) -> None:
        """Note an attempt, then do what the test says."""
        self.attempts.append(run)
        await self.script(run)

    @property
    def numbers(self) -> list[int]:
        """The attempts' own numbers."""
        return [run.attempt for run in self.attempts]

    @property
    def keys(self) -> set[str]:
        """The idempotency keys they had."""
        return {run.idempotency_key for run in self.attempts}


class Stubborn(TaskJob[int, int, int]):
    """A task that never gives up."""

    name = "stubborn"
    retry = AT_ONCE
    heartbeat_timeout = SOON

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def on_event(self, run: TaskRun[int], event: int) -> int:
        await self._notes.note(run)
        run.state += event
        return run.state

    async def execute(self, run: TaskRun[int]) -> None:
        await self._notes.note(run)


class Gatherer(DebounceJob[int]):
    """A debounce that never gives up."""

    name = "gatherer"
    flush_after = timedelta(milliseconds=1)
    retry = AT_ONCE
    heartbeat_timeout = SOON

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def reduce(self, state: int | None, event: int) -> int:
        return (state or 0) + event

    async def execute(self, run: DebounceRun[int]) -> None:
        await self._notes.note(run)


class Ticker(ContinuousJob[int]):
    """A continuous job that never gives up."""

    name = "ticker"
    schedule = Every(HOUR)
    retry = Retry(100_000, initial=timedelta(milliseconds=1), backoff="fixed", jitter=False)
    heartbeat_timeout = SOON

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def execute(self, run: ContinuousRun[int]) -> None:
        await self._notes.note(run)
        run.state += 7


async def a_task(jobs: JobClient) -> Handle[Any]:
    """A task with one event of 7."""
    task = jobs.task(Stubborn, new_key())
    await task.send(7)
    return task


async def a_debounce(jobs: JobClient) -> Handle[Any]:
    """A debounce with one event of 7."""
    digest = jobs.debounce(Gatherer, new_key())
    await digest.add(7)
    return digest


async def a_continuous(jobs: JobClient) -> Handle[Any]:
    """A continuous job that counts up to 7."""
    poll = jobs.continuous(Ticker, new_key())
    await poll.start(0)
    return poll


KINDS = [
    pytest.param(Stubborn, a_task, id="task"),
    pytest.param(Gatherer, a_debounce, id="debounce"),
    pytest.param(Ticker, a_continuous, id="continuous"),
]


def failing_until(last: int) -> Script:
    """Fails each attempt before this one."""

    async def script(run: Any) -> None:
        if run.attempt < last:
            raise ValueError(f"attempt {run.attempt}")

    return script


async def the_state(handle: Handle[Any]) -> Any:
    """The state, once no run is under way."""
    await eventually(lambda: _rests(handle), within=60)
    return await handle.state()


async def _rests(handle: Handle[Any]) -> bool:
    return (await status_of(handle)).status not in ("running", "retrying", "debouncing")


async def runs_of(client: Client, queue: str, job: Any) -> list[WorkflowHistory]:
    """The histories of all runs of the queue's instances, which replay."""
    histories = await histories_of(client, queue)
    await assert_replays(histories, JobsPlugin([job(Notes(failing_until(0)))]))
    return histories
