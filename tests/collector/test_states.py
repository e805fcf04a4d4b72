"""The collector gives an instance the state that it gives itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from temporalio.client import Client

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Every,
    JobClient,
    Retry,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.tracking import HttpSink, Tracking
from durable_jobs.tracking.moments import milliseconds
from tests.support import eventually
from tests.support.jobs import new_key, result_of, running_worker, until_status

from .support import Sender

SOON = timedelta(milliseconds=200)


class Counts(ContinuousJob[int]):
    """Its state is how often it ran."""

    schedule = Every(timedelta(milliseconds=50))

    async def execute(self, run: ContinuousRun[int]) -> None:
        run.state += 1


class Twice(Counts):
    name = "twice"
    max_runs = 2


class Soon(Counts):
    name = "soon"


class Brief(TaskJob[str, str]):
    """Keeps its last event."""

    name = "brief"
    idle_timeout: ClassVar[timedelta | None] = SOON

    async def on_event(self, run: TaskRun[str], event: str) -> None:
        run.state = event

    async def execute(self, run: TaskRun[str]) -> None:
        run.state = "rang"


class Long(Brief):
    name = "long"
    idle_timeout = None


class Alarmed(Long):
    """Sets its alarm or cancels it, and knows when it has nothing to do."""

    name = "alarmed"

    async def on_event(self, run: TaskRun[str], event: str) -> None:
        if event == "set":
            run.schedule(timedelta(hours=1))
        else:
            run.cancel_schedule()

    async def on_idle(self, run: TaskRun[str]) -> None:
        run.state = "idle"


class Haul(WorkerPoolJob[str]):
    """Hauls loads; one is too heavy."""

    name = "haul-watched"
    concurrency = 1
    retry = Retry(max_attempts=1)

    async def execute(self, run: WorkerPoolRun[str]) -> None:
        if run.event == "heavy":
            raise ValueError("too heavy")


@dataclass
class Watched:
    """A worker whose tracking events go to a collector."""

    client: Client
    jobs: JobClient
    collector: Sender

    async def ended(self, instance_id: str) -> tuple[str, str]:
        """How it ended: as it says itself, and as the collector says."""
        result = await result_of(self.client, instance_id)
        return result["status"], (await self.after(instance_id, "job.terminated"))[0]

    async def after(self, instance_id: str, kind: str) -> tuple[str, int | None]:
        """Its state at the collector and when it is due, once its last event is of the kind."""

        async def told() -> dict[str, Any] | None:
            instance = await self._instance(instance_id)
            return instance if instance["lastType"] == kind else None

        instance = await eventually(told)
        return instance["state"], instance["nextAt"]

    async def is_idle(self, instance_id: str) -> bool:
        instance = await self._instance(instance_id)
        return (instance["state"], instance["nextAt"]) == ("idle", None)

    async def _instance(self, instance_id: str) -> dict[str, Any]:
        [instance] = (await self.collector.get("/api/instances", instance=instance_id))["instances"]
        return instance


@pytest.fixture
async def watched(client: Client, queue: str, collector: Sender) -> AsyncIterator[Watched]:
    Soon.until = datetime.now(UTC) + timedelta(seconds=1)
    tracking = Tracking(HttpSink(f"{collector.address.rstrip('/')}/events"))
    jobs = (Twice(), Soon(), Brief(), Long(), Alarmed(), Haul())
    async with running_worker(client, queue, *jobs, tracking=tracking) as caller:
        yield Watched(client, caller, collector)


@pytest.mark.parametrize("job", [Twice, Soon])
async def test_a_continuous_instance_that_came_to_its_planned_end_is_completed(
    watched: Watched, job: type[Counts]
) -> None:
    poll = watched.jobs.continuous(job, new_key())
    await poll.start()
    assert await watched.ended(poll.instance_id) == ("completed", "completed")


async def test_a_task_that_ended_for_being_idle_is_completed(watched: Watched) -> None:
    task = watched.jobs.task(Brief, new_key())
    await task.send("the only one")
    assert await watched.ended(task.instance_id) == ("completed", "completed")


@pytest.mark.parametrize("reason", [None, "idle for weeks", "max_runs reached after 2 runs"])
async def test_an_instance_that_was_ended_is_terminated(
    watched: Watched, reason: str | None
) -> None:
    task = watched.jobs.task(Long, new_key())
    await task.send("the only one")
    await task.terminate(reason)
    assert await watched.ended(task.instance_id) == ("terminated", "terminated")


async def test_a_task_waits_for_its_alarm_until_that_is_cancelled(watched: Watched) -> None:
    task = watched.jobs.task(Alarmed, new_key())
    await task.send("set")
    status = await until_status(task, "scheduled")
    assert status.next_run_at is not None
    alarm = milliseconds(status.next_run_at)
    assert await watched.after(task.instance_id, "task.scheduled") == ("scheduled", alarm)
    # Its run leaves the alarm as it was.
    await task.trigger()
    assert await watched.after(task.instance_id, "job.executed") == ("scheduled", alarm)
    await task.send("cancel")
    await eventually(lambda: watched.is_idle(task.instance_id))
    await until_status(task, "idle")


async def test_an_instance_of_a_pool_is_idle_paused_and_completed_once_drained(
    watched: Watched,
) -> None:
    pool, instance = watched.jobs.worker_pool(Haul), "workerPool:haul-watched:0"
    await pool.enqueue("heavy")
    assert await watched.after(instance, "job.failed") == ("idle", None)
    await pool.pause()
    assert await watched.after(instance, "job.paused") == ("paused", None)
    await pool.enqueue("light")
    await pool.resume()
    assert await watched.after(instance, "job.executed") == ("idle", None)
    [shown] = (await watched.collector.get("/api/instances", type="workerPool"))["instances"]
    assert (shown["instanceId"], shown["jobType"]) == (instance, "workerPool")
    await pool.terminate("drained")
    # Whoever ends it may choose that word: it is no planned end.
    assert await watched.ended(instance) == ("terminated", "terminated")
    await pool.enqueue("light")
    await watched.after(instance, "job.executed")
    await pool.drain()
    assert await watched.ended(instance) == ("completed", "completed")
