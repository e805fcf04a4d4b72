"""What users of other schedulers complain about, and what happens here."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs import ContinuousRun, Cron, Every, JobClient
from tests.support import eventually
from tests.support.jobs import let_pass, new_key, running_worker, status_of, until_run, until_status
from tests.support.skipping import DAY, HOUR, Noting, skip_to_the_end
from tests.support.year import changes

SECOND = timedelta(seconds=1)


async def _until(moment: datetime) -> None:
    await eventually(lambda: datetime.now(UTC) >= moment)


async def test_a_tick_due_during_a_deployment_is_not_lost(client: Client, queue: str) -> None:
    class Rare(Noting):
        schedule = Every(3 * SECOND)

    old, new = Rare(), Rare()
    async with running_worker(client, queue, old) as jobs:
        rare = jobs.continuous(Rare, new_key())
        await rare.start()
        started_at = (await until_run(rare, 1)).started_at
    await _until(started_at + 3.1 * SECOND)
    async with running_worker(client, queue, new):
        await eventually(lambda: new.runs)
        await rare.terminate()
    assert [run.due_at for run in (*old.runs, *new.runs)] == [started_at, started_at + 3 * SECOND]


async def test_a_tick_under_way_at_a_deployment_is_not_lost(client: Client, queue: str) -> None:
    class Long(Noting):
        schedule = Every(HOUR)

        async def execute(self, run: ContinuousRun[int]) -> None:
            self.runs.append(run)
            await hold.wait()
            run.state += 1

    hold, old, new = asyncio.Event(), Long(), Long()
    async with running_worker(client, queue, old) as jobs:
        long = jobs.continuous(Long, new_key())
        await long.start()
        await eventually(lambda: old.runs)
    hold.set()
    async with running_worker(client, queue, new):
        await eventually(lambda: new.runs)
        status = await until_status(long, "scheduled")
        assert (status.run_count, await long.state()) == (1, 1)
        await long.terminate()
    [cut_off], [made_again] = old.runs, new.runs
    assert made_again.due_at == cut_off.due_at
    assert made_again.attempt == 1
    assert made_again.idempotency_key == cut_off.idempotency_key


async def test_no_two_runs_at_once_and_none_twice_after_a_restart(
    client: Client, queue: str
) -> None:
    class Busy(Noting):
        schedule = Every(timedelta(milliseconds=300))
        catch_up = "all"
        under_way = most = 0
        dues: list[datetime] = []  # noqa: RUF012

        async def execute(self, run: ContinuousRun[int]) -> None:
            Busy.under_way += 1
            Busy.most = max(Busy.most, Busy.under_way)
            try:
                await asyncio.sleep(0.02)
                Busy.dues.append(run.due_at)
            finally:
                Busy.under_way -= 1

    busy = JobClient(client, task_queue=queue).continuous(Busy, new_key())
    await busy.start()
    for turn in (1, 2):
        async with running_worker(client, queue, Busy()):
            await eventually(lambda n=turn: len(Busy.dues) > 4 * n)
            await until_status(busy, "scheduled")
            await let_pass(SECOND / 10)
        await _until(Busy.dues[-1] + SECOND)
        await busy.trigger()
    before = len(Busy.dues)
    other = await Client.connect(client.service_client.config.target_host)
    async with running_worker(client, queue, Busy()), running_worker(other, queue, Busy()):
        await eventually(lambda: len(Busy.dues) > before + 5)
        started_at = (await status_of(busy)).started_at
        await busy.terminate()
    assert Busy.most == 1
    step = timedelta(milliseconds=300)
    ticks = [due for due in Busy.dues if (due - started_at) % step == timedelta()]
    assert ticks == [started_at + n * step for n in range(len(ticks))]
    assert len(ticks) == len(Busy.dues) - 2


async def test_due_times_do_not_drift(client: Client, queue: str) -> None:
    step = timedelta(milliseconds=150)

    class Working(Noting):
        schedule = Every(step)

        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            await asyncio.sleep(0.05)

    old, new = Working(), Working()
    async with running_worker(client, queue, old) as jobs:
        working = jobs.continuous(Working, new_key())
        await working.start()
        await eventually(lambda: len(old.runs) >= 8)
    async with running_worker(client, queue, new):
        await eventually(lambda: len(new.runs) >= 8)
        started_at = (await status_of(working)).started_at
        await working.terminate()
    dues = [run.due_at for run in (*old.runs, *new.runs)]
    assert all((due - started_at) % step == timedelta() for due in dues)
    assert all(later > earlier for earlier, later in pairwise(dues[: len(old.runs)]))


@pytest.mark.parametrize("which", [0, 1])
async def test_the_hour_is_right_after_the_clocks_change(
    time_skipping: WorkflowEnvironment, queue: str, which: int
) -> None:
    class Daily(Noting):
        schedule = Cron("30 7 * * *", timezone="Europe/Berlin")

    env, job = time_skipping, Daily(6)
    now = await env.get_current_time()
    await env.sleep(changes(now + 4 * DAY)[which] - 3 * DAY - now)
    async with running_worker(env.client, queue, job) as jobs:
        daily = jobs.continuous(Daily, new_key())
        await daily.start()
        await skip_to_the_end(env, daily)
    local = [run.due_at.astimezone(ZoneInfo("Europe/Berlin")) for run in job.runs]
    assert {f"{due:%H:%M:%S}" for due in local} == {"07:30:00"}
    assert [due.date() for due in local] == [local[0].date() + n * DAY for n in range(6)]
    assert len({due.utcoffset() for due in local}) == 2


async def test_a_paused_job_does_not_fire_on_resume_for_each_missed_tick(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    class Hourly(Noting):
        schedule = Every(HOUR)
        catch_up = "all"

    env, job = time_skipping, Hourly(3)
    async with running_worker(env.client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        await eventually(lambda: job.runs)
        await hourly.pause("the API is down")
        await until_status(hourly, "paused")
        await env.sleep(10.5 * DAY)
        resumed = await env.get_current_time()
        await hourly.resume()
        await until_status(hourly, "scheduled")
        assert len(job.runs) == 1
        await skip_to_the_end(env, hourly)
    assert job.runs[1].due_at > resumed
    assert job.runs[2].due_at == job.runs[1].due_at + HOUR
