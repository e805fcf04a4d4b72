"""The last ticks of instances whose planned end came while no worker ran."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousRun, Cron, Every, JobClient, JobsPlugin
from durable_jobs.schedule import Schedule
from tests.support import eventually
from tests.support.jobs import new_key, result_of, running_worker, status_of, until_status
from tests.support.lives import assert_replays, histories_of
from tests.support.skipping import Noting

SECOND = timedelta(seconds=1)
LONG = 10 * SECOND
CATCH_UPS = ["skip", "one", "all"]
SCHEDULES: dict[str, tuple[Schedule, timedelta]] = {
    "every": (Every(SECOND), 8.5 * SECOND),
    "cron": (Cron("* * * * * *"), 8.5 * SECOND),
    "rare": (Every(LONG), 1.4 * LONG),
}
"""Rules, and how long after the start the instance ends."""


def _job(kind: str, catch: Any, start: datetime) -> Noting:
    class Ending(Noting):
        schedule, until = SCHEDULES[kind][0], start + SCHEDULES[kind][1]
        catch_up = catch

    Ending.name = f"{kind}-{catch}"
    return Ending()


class Choosing(Noting):
    """Its first run chooses the next tick, between two of the schedule's."""

    name = "choosing"
    schedule = Every(SECOND)
    catch_up = "one"

    async def execute(self, run: ContinuousRun[int]) -> None:
        await super().execute(run)
        if run.run_count == 1:
            run.next_at(run.due_at + SECOND / 2)


@dataclass
class Ended:
    """When the ticks of an ended instance were due, before and after the outage."""

    before: list[datetime]
    after: list[datetime]
    until: datetime
    reason: str

    def left(self, interval: timedelta = SECOND) -> list[datetime]:
        """The due times that were left when the worker went."""
        count = (self.until - self.before[-1]) // interval
        return [self.before[-1] + n * interval for n in range(1, count + 1)]


def _jobs(start: datetime) -> dict[str, Noting]:
    Choosing.until = start + SCHEDULES["every"][1]
    made = [_job(kind, catch, start) for kind in SCHEDULES for catch in CATCH_UPS]
    return {job.name: job for job in [*made, Choosing()]}


@pytest.fixture(scope="module")
async def ended(client: Client) -> dict[str, Ended]:
    """One outage for all jobs, over all their ends."""
    queue, start = f"test-{new_key()}", datetime.now(UTC)
    first, second = _jobs(start), _jobs(start)
    jobs = JobClient(client, task_queue=queue)
    handles = {name: jobs.continuous(type(job), new_key()) for name, job in first.items()}
    async with running_worker(client, queue, *first.values()):
        await asyncio.gather(*(handle.start() for handle in handles.values()))
        await eventually(lambda: all(job.runs for job in first.values()))
        await asyncio.gather(*(until_status(handle, "scheduled") for handle in handles.values()))
    begin = datetime.now(UTC)
    last = max(type(job).until or start for job in first.values())
    await eventually(lambda: datetime.now(UTC) > last)
    async with running_worker(client, queue, *second.values()):
        results = await asyncio.gather(
            *(result_of(client, handle.instance_id) for handle in handles.values())
        )
        for handle, result in zip(handles.values(), results, strict=True):
            assert result["status"] == (await status_of(handle)).status == "completed"
    await assert_replays(await histories_of(client, queue), JobsPlugin(list(second.values())))
    # A tick that was due before the outage may have been under way, and be run after it.
    dues = {name: [run.due_at for run in first[name].runs + second[name].runs] for name in first}
    return {
        name: Ended(
            [due for due in dues[name] if due <= begin],
            [due for due in dues[name] if due > begin],
            type(first[name]).until or start,
            result["reason"],
        )
        for name, result in zip(handles, results, strict=True)
    }


@pytest.mark.parametrize("schedule", ["every", "cron"])
def test_skip_makes_up_for_none_of_those_missed(ended: dict[str, Ended], schedule: str) -> None:
    assert ended[f"{schedule}-skip"].left()
    assert ended[f"{schedule}-skip"].after == []


@pytest.mark.parametrize("schedule", ["every", "cron"])
def test_one_makes_one_run_due_at_the_last_before_until(
    ended: dict[str, Ended], schedule: str
) -> None:
    job = ended[f"{schedule}-one"]
    assert job.after == job.left()[-1:]


@pytest.mark.parametrize("schedule", ["every", "cron"])
def test_all_makes_each_up_to_until(ended: dict[str, Ended], schedule: str) -> None:
    job = ended[f"{schedule}-all"]
    assert len(job.left()) > 1
    assert job.after == job.left()


@pytest.mark.parametrize("catch_up", CATCH_UPS)
def test_a_last_tick_that_is_late_and_not_missed_runs(
    ended: dict[str, Ended], catch_up: str
) -> None:
    job = ended[f"rare-{catch_up}"]
    assert job.after == job.left(LONG) == [job.before[0] + LONG]


def test_after_a_tick_that_a_run_chose_one_run_is_made_for_those_missed(
    ended: dict[str, Ended],
) -> None:
    job = ended["choosing"]
    dues = [*job.before, *job.after]
    assert dues[1] == dues[0] + SECOND / 2
    assert job.after[-1] == dues[0] + (job.until - dues[0]) // SECOND * SECOND


def test_each_ends_for_the_reason_of_its_end(ended: dict[str, Ended]) -> None:
    for job in ended.values():
        assert job.reason == f"until {job.until.isoformat()} reached"
