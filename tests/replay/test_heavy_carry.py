"""A run is retried without limit, and too much waits behind it to be carried into a new run.

The server ends a workflow at 51,200 events of history, and all that waits in it is lost. So the
instance makes no further attempt by itself long before.
"""

import secrets

import pytest
from temporalio.client import Client

from durable_jobs import TaskJob, TaskRun, packing
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import (
    QUICK,
    history_of,
    new_key,
    running_worker,
    until_settled,
    until_status,
    went_on,
)

LONG = 30
"""Events of a history that is long enough for continue-as-new."""


class Outage(TaskJob[str, int]):
    """Fails until the outage is over."""

    name = "outage"
    retry = QUICK

    def __init__(self) -> None:
        self.over = False
        self.attempts = 0

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        self.attempts += 1
        if not self.over:
            raise ConnectionError("away")
        run.state += 1

    async def execute(self, run: TaskRun[int]) -> None:
        """No handler sets the alarm."""


async def test_attempts_before_a_backlog_that_cannot_be_carried_do_not_fill_the_history(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", LONG)
    monkeypatch.setattr(carry, "REFUSED_EVENTS", 10 * LONG)
    monkeypatch.setattr(carry, "CARRIED_BYTES", 2_000)
    monkeypatch.setattr(packing, "PLAIN_BYTES", 0)
    job = Outage()
    async with running_worker(client, queue, job) as jobs:
        task = jobs.task(Outage, new_key())
        for n in range(50):
            await task.send(f"{n}: {secrets.token_hex(200)}")
        status = await until_status(task, "paused")
        assert "resume makes one more attempt" in (status.pause_note or "")
        assert len(await history_of(client, task.instance_id)) < 12 * LONG
        assert not await went_on(client, task.instance_id)
        before = job.attempts
        await task.resume()
        await eventually(lambda: job.attempts == before + 1)
        await until_status(task, "paused")
        assert job.attempts == before + 1
        job.over = True
        await task.resume()
        await until_settled(task)
        assert await task.state() == 50
        await task.terminate("done")
