"""Ticks that fell due while nothing could run: no worker, a run that took too long, a pause."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs import ContinuousRun, Cron, Every, JobClient
from durable_jobs.schedule import Schedule
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, until_status
from tests.support.skipping import HOUR, Noting, skip_to_the_end

SECOND = timedelta(seconds=1)
OUTAGE = 3.5 * SECOND
RARELY = 6 * SECOND
"""Longer than the outage, which begins after its start and ends soon after its first tick."""

CATCH_UPS = ["skip", "one", "all"]
SCHEDULES: dict[str, Schedule] = {
    "every": Every(SECOND),
    "cron": Cron("* * * * * *", timezone="Europe/Berlin"),
    "rare": Every(RARELY),
}


def _job(name: str, rule: Schedule, catch: Any) -> Noting:
    class Job(Noting):
        schedule = rule
        catch_up = catch

    Job.name = name
    if name.startswith("rare"):
        Job.start_immediately = False
    return Job()


@dataclass
class Outage:
    """An outage, and when ticks were due, by job."""

    begin: datetime
    started: datetime
    """When the instances had been started that were started during it."""

    end: datetime
    rare: datetime
    """When the rare ones were due first, at the latest."""

    dues: dict[str, list[datetime]]

    def around(self, name: str) -> tuple[datetime, list[datetime]]:
        """The last due time before it, and those after its begin.

        A tick that was due before it may have been under way, and be run after it.
        """
        dues = self.dues[name]
        return max(due for due in dues if due <= self.begin), self.after(name)

    def after(self, name: str) -> list[datetime]:
        """The due times after its begin."""
        return [due for due in self.dues[name] if due > self.begin]


def _jobs() -> dict[str, Noting]:
    names = [(f"{rule}-{catch}", rule, catch) for rule in SCHEDULES for catch in CATCH_UPS]
    started = [(f"started-{catch}", "every", catch) for catch in CATCH_UPS]
    return {name: _job(name, SCHEDULES[rule], catch) for name, rule, catch in names + started}


def _enough(job: Noting) -> bool:
    return len(job.runs) >= (1 if job.name.startswith("rare") else 5)


@pytest.fixture(scope="module")
async def outage(client: Client) -> Outage:
    """One outage for all jobs; those named `started` were started during it."""
    queue, first, second = f"test-{new_key()}", _jobs(), _jobs()
    jobs = JobClient(client, task_queue=queue)
    handles = {name: jobs.continuous(type(job), new_key()) for name, job in first.items()}
    ran = [name for name in first if not name.startswith("started")]
    often = [name for name in ran if not name.startswith("rare")]
    async with running_worker(client, queue, *first.values()):
        await asyncio.gather(*(handles[name].start() for name in ran))
        await eventually(lambda: all(first[name].runs for name in often))
        waiting = [await until_status(handles[name], "scheduled") for name in ran]
    begin = datetime.now(UTC)
    rare = max(status.next_run_at for status in waiting if status.next_run_at)
    await asyncio.gather(*(handles[n].start() for n in first if n not in ran))
    started = datetime.now(UTC)
    await eventually(lambda: datetime.now(UTC) > max(begin + OUTAGE, rare))
    end = datetime.now(UTC)
    async with running_worker(client, queue, *second.values()):
        await eventually(lambda: all(_enough(job) for job in second.values()))
        await asyncio.gather(*(handle.terminate() for handle in handles.values()))
    dues = {name: [run.due_at for run in first[name].runs + second[name].runs] for name in first}
    return Outage(begin, started, end, rare, dues)


@pytest.mark.parametrize("schedule", ["every", "cron"])
def test_skip_goes_on_with_the_next_due_time(outage: Outage, schedule: str) -> None:
    _, after = outage.around(f"{schedule}-skip")
    assert after[0] > outage.end


@pytest.mark.parametrize("schedule", ["every", "cron"])
def test_one_makes_one_run_due_at_the_last_missed_tick(outage: Outage, schedule: str) -> None:
    last, after = outage.around(f"{schedule}-one")
    assert after[0] > last + 2 * SECOND
    assert outage.end - SECOND < after[0]
    assert after[1] > outage.end


@pytest.mark.parametrize("schedule", ["every", "cron"])
def test_all_makes_each_missed_run_in_order(outage: Outage, schedule: str) -> None:
    last, after = outage.around(f"{schedule}-all")
    assert after == [last + n * SECOND for n in range(1, len(after) + 1)]


@pytest.mark.parametrize("catch_up", CATCH_UPS)
def test_a_tick_that_is_late_and_not_missed_runs(outage: Outage, catch_up: str) -> None:
    dues = outage.dues[f"rare-{catch_up}"]
    assert outage.begin < dues[0] <= outage.rare


@pytest.mark.parametrize("catch_up", CATCH_UPS)
def test_an_instance_started_while_no_worker_ran_runs_at_once(
    outage: Outage, catch_up: str
) -> None:
    dues = outage.after(f"started-{catch_up}")
    assert dues[0] < outage.started
    if catch_up != "all":
        assert dues[1] > outage.end - (SECOND if catch_up == "one" else timedelta())


def test_no_tick_runs_twice_and_none_leaves_the_grid(outage: Outage) -> None:
    for dues in map(outage.after, outage.dues):
        assert all(a < b for a, b in pairwise(dues))
        assert all((b - a) % SECOND == timedelta() for a, b in pairwise(dues))


@pytest.mark.parametrize("catch_up", CATCH_UPS)
async def test_ticks_missed_by_a_run_longer_than_the_interval(
    client: Client, queue: str, catch_up: Any
) -> None:
    step = timedelta(milliseconds=400)
    ended: list[datetime] = []

    class Slow(Noting):
        schedule = Every(step)

        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            if run.run_count == 1:
                await eventually(lambda: datetime.now(UTC) > run.due_at + 2.5 * step)
                ended.append(datetime.now(UTC))

    Slow.catch_up = catch_up
    job = Slow()
    async with running_worker(client, queue, job) as jobs:
        slow = jobs.continuous(Slow, new_key())
        await slow.start()
        await eventually(lambda: len(job.runs) >= 4)
        await slow.terminate()
    first, second, *_ = dues = [run.due_at for run in job.runs]
    if catch_up == "skip":
        assert second > ended[0] - timedelta(milliseconds=5)
    elif catch_up == "one":
        assert second > ended[0] - step
    else:
        assert dues == [first + n * step for n in range(len(dues))]


@pytest.mark.parametrize("catch_up", CATCH_UPS)
async def test_a_tick_that_a_run_made_late_runs_as_soon_as_the_run_is_over(
    client: Client, queue: str, catch_up: Any
) -> None:
    step = 2 * SECOND

    class Slow(Noting):
        schedule = Every(step)

        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            if run.run_count == 1:
                await eventually(lambda: datetime.now(UTC) > run.due_at + 1.1 * step)

    Slow.catch_up = catch_up
    job = Slow()
    async with running_worker(client, queue, job) as jobs:
        slow = jobs.continuous(Slow, new_key())
        await slow.start()
        await eventually(lambda: len(job.runs) >= 3)
        await slow.terminate()
    first = job.runs[0].due_at
    assert [run.due_at for run in job.runs[:3]] == [first + n * step for n in range(3)]


@pytest.mark.parametrize("catch_up", ["one", "all"])
async def test_ticks_missed_while_paused_are_never_made_up_for(
    time_skipping: WorkflowEnvironment, queue: str, catch_up: Any
) -> None:
    class Hourly(Noting):
        schedule = Every(HOUR)

    Hourly.catch_up = catch_up
    env, job = time_skipping, Hourly(4)
    async with running_worker(env.client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        await eventually(lambda: job.runs)
        await hourly.pause()
        await until_status(hourly, "paused")
        await env.sleep(5.5 * HOUR)
        await hourly.resume()
        await skip_to_the_end(env, hourly)
    assert job.hours() == [0, 6, 7, 8]


async def test_a_job_whose_worker_is_always_late_runs_all_the_same(
    client: Client, queue: str
) -> None:
    class Hasty(Noting):
        schedule = Every(timedelta(milliseconds=1))

    job = Hasty()
    async with running_worker(client, queue, job) as jobs:
        hasty = jobs.continuous(Hasty, new_key())
        await hasty.start()
        await eventually(lambda: len(job.runs) >= 5)
        await hasty.terminate()
