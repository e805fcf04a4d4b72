"""The collector gives an instance the state that it gives itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Every, JobClient, TaskJob, TaskRun
from durable_jobs.tracking import HttpSink, Tracking
from tests.jobs import new_key, result_of, running_worker
from tests.support import eventually

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


@dataclass
class Watched:
    """A worker whose tracking events go to a collector."""

    client: Client
    jobs: JobClient
    collector: Sender

    async def ended(self, instance_id: str) -> tuple[str, str]:
        """How it ended: as it says itself, and as the collector says."""
        result = await result_of(self.client, instance_id)
        return result["status"], await eventually(lambda: self._end_of(instance_id))

    async def _end_of(self, instance_id: str) -> str | None:
        found = await self.collector.get("/api/instances", instance=instance_id)
        [instance] = found["instances"]
        return instance["state"] if instance["lastType"] == "job.terminated" else None


@pytest.fixture
async def watched(client: Client, queue: str, collector: Sender) -> AsyncIterator[Watched]:
    Soon.until = datetime.now(UTC) + timedelta(seconds=1)
    tracking = Tracking(HttpSink(f"{collector.address.rstrip('/')}/events"))
    jobs = (Twice(), Soon(), Brief(), Long())
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
