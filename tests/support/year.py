"""What tests of a year share: lives a cron job, and compares it with a walk through all minutes."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs import ContinuousRun, Cron
from tests.support.brute_cron import Brute
from tests.support.jobs import running_worker
from tests.support.skipping import Noting, skip_to_the_end

ZONE = "Europe/Berlin"
MAX_EVENTS = 10_000


class Clocked(Noting):
    """Counts its ticks, and notes each one's due time and delay."""

    name = "clocked"

    def __init__(self, runs: int, environment: WorkflowEnvironment) -> None:
        super().__init__(runs)
        self.late: list[timedelta] = []
        self._environment = environment

    async def execute(self, run: ContinuousRun[int]) -> None:
        self.late.append(await self._environment.get_current_time() - run.due_at)
        await super().execute(run)


async def live(
    environment: WorkflowEnvironment, queue: str, line: str, begin: datetime, ticks: int
) -> list[int]:
    """Live so many ticks from a moment on, and check each; gives the lengths of the histories."""

    class Job(Clocked):
        schedule = Cron(line, timezone=ZONE)

    await environment.sleep(begin - await environment.get_current_time())
    job = Job(ticks, environment)
    async with running_worker(environment.client, queue, job) as jobs:
        handle = jobs.continuous(Job, "year")
        started = await environment.get_current_time()
        await handle.start()
        run_id = (
            await environment.client.get_workflow_handle(handle.instance_id).describe()
        ).run_id
        await skip_to_the_end(environment, handle)
        assert await handle.state() == ticks
    brute = Brute(line, ZONE).due(_next_minute(started), begin + timedelta(days=800))
    assert [run.due_at for run in job.runs] == list(islice(brute, ticks))
    assert [run.run_count for run in job.runs] == list(range(1, ticks + 1))
    assert len({run.idempotency_key for run in job.runs}) == ticks
    assert timedelta(seconds=-0.01) < min(job.late)
    assert max(job.late) < timedelta(minutes=1)
    lengths = await _lengths(environment.client, handle.instance_id, run_id)
    assert max(lengths) < MAX_EVENTS
    return lengths


def _next_minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)


async def _lengths(client: Client, instance_id: str, run_id: str | None) -> list[int]:
    """How many events the history of each run of a workflow has."""
    lengths: list[int] = []
    while run_id:
        handle: Any = client.get_workflow_handle(instance_id, run_id=run_id)
        events = (await handle.fetch_history()).events
        lengths.append(len(events))
        last = events[-1]
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return lengths


def changes(after: datetime) -> list[datetime]:
    """The next two moments, to the day, after which the zone's clocks change."""
    zone = ZoneInfo(ZONE)
    days = [after + timedelta(days=n) for n in range(400)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return [day for day, a, b in zip(days, offsets, offsets[1:], strict=False) if a != b][:2]
