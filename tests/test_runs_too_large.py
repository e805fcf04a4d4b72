"""Runs that continue-as-new cannot carry, as too much waits behind them: they lose nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import Retry, TaskJob, TaskRun
from durable_jobs.handles import TaskHandle
from durable_jobs.tracking import MemorySink, Tracking, attempt
from durable_jobs.workflows import carry
from tests.jobs import (
    new_key,
    result_of,
    running_worker,
    status_of,
    until_settled,
    until_status,
    went_on,
)
from tests.lives import histories_of, in_order, tracked_worker
from tests.support import eventually

BACKLOG = 20
WAITS = {
    "short waits": Retry(initial=timedelta(milliseconds=1), backoff="fixed", jitter=False),
    "long waits": Retry(initial=timedelta(seconds=0.8), backoff="fixed", jitter=False),
}


class Stubborn(TaskJob[str, int, int]):
    """Fails at "bad" until it is mended, and never gives up."""

    name = "stubborn-before-a-backlog"
    retry = WAITS["short waits"]

    def __init__(self) -> None:
        self.mended = False
        self.calls: list[TaskRun[int]] = []
        self.events: list[str] = []

    async def on_event(self, run: TaskRun[int], event: str) -> int:
        self.calls.append(run)
        if event == "bad" and not self.mended:
            raise ValueError("not mended")
        self.events.append(event[:3])
        run.state += 1
        return run.state

    async def execute(self, run: TaskRun[int]) -> None:
        """No handler sets the alarm."""


@pytest.fixture(autouse=True)
def _short_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 30)
    monkeypatch.setattr(instance, "MOST_HISTORY_EVENTS", 120)
    monkeypatch.setattr(attempt, "MAX_ATTEMPTS", 10)


async def _stuck(task: TaskHandle[str, int, int], job: Stubborn) -> Any:
    """Send more than can be carried behind an event that fails, and wait until it waits."""
    await task.send("bad", id="bad")
    await eventually(lambda: job.calls)
    for number in range(BACKLOG):
        await task.send(f"{number:<3}" + "x" * 100_000)
    return await eventually(lambda: _paused(task))


async def _paused(task: TaskHandle[str, int, int]) -> Any:
    status = await status_of(task)
    return status if status.status == "paused" else None


@pytest.mark.parametrize("retry", WAITS.values(), ids=WAITS)
async def test_a_run_before_a_backlog_too_large_to_carry_waits_and_says_so_with(
    client: Client, queue: str, retry: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Stubborn()
    monkeypatch.setattr(Stubborn, "retry", retry)
    async with tracked_worker(client, queue, [job]) as worker:
        task = worker.jobs.task(Stubborn, new_key())
        status = await _stuck(task, job)
        assert status.event_count == BACKLOG + 1
        assert "too much waits behind the run" in status.last_error
        assert "not mended" in status.last_error
        # Told to go on, it makes one more attempt.
        tried = len(job.calls)
        await task.resume()
        await eventually(lambda: len(job.calls) == tried + 1)
        await until_status(task, "paused")
        assert len(job.calls) == tried + 1
        lengths = [len(history.events) for history in await histories_of(client, queue)]
        assert max(lengths) < 200 + 4 * BACKLOG
        asking = asyncio.create_task(task.ask("question"))
        await eventually(lambda: _waiting(task, BACKLOG + 2))
        job.mended = True
        await task.resume()
        assert await asking == BACKLOG + 2
        await until_settled(task)
        first_runs = [run for run in job.calls if run.run_count == 1]
        assert [run.attempt for run in first_runs] == list(range(1, tried + 3))
        assert len({run.idempotency_key for run in first_runs}) == 1
        assert job.events == ["bad", *(f"{number:<3}" for number in range(BACKLOG)), "que"]
        # What is left fits.
        await task.send("end")
        await eventually(lambda: went_on(client, task.instance_id))
        await task.terminate()
        await result_of(client, task.instance_id)
    events = in_order(worker.sink.events, task.instance_id)
    failed = [event["attempt"] for event in events if event["type"] == "job.failed"]
    assert failed == list(range(1, tried + 2))
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))


async def test_a_run_that_waits_so_still_ends_by_terminate(client: Client, queue: str) -> None:
    job = Stubborn()
    async with running_worker(client, queue, job, tracking=Tracking(MemorySink())) as jobs:
        task = jobs.task(Stubborn, new_key())
        await _stuck(task, job)
        await task.terminate("enough")
        result = await result_of(client, task.instance_id)
    assert (result["status"], result["reason"], result["discardedEvents"]) == (
        "terminated",
        "enough",
        BACKLOG + 1,
    )


async def _waiting(task: TaskHandle[str, int, int], count: int) -> bool:
    return (await status_of(task)).event_count == count
