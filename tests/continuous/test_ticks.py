"""When a continuous instance runs: its grid, triggers, pauses, runs that take too long."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from temporalio.client import Client

from durable_jobs import ContinuousRun, Every, JobClient
from tests.support import eventually
from tests.support.jobs import let_pass, new_key, running_worker, status_of, until_run, until_status
from tests.support.skipping import Noting

SOON = timedelta(milliseconds=100)
NEVER = timedelta(hours=1)


class Ticker(Noting):
    name = "ticker"
    schedule = Every(SOON)


class Idle(Ticker):
    """Runs when it is triggered."""

    schedule = Every(NEVER)
    start_immediately = False


class Held(Idle):
    """Each run waits until it is let go; notes how many ran at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Semaphore(0)
        self.under_way = 0
        self.most = 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        await super().execute(run)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.let_go.acquire()
        self.under_way -= 1


async def test_ticks_are_due_on_a_grid_that_begins_at_the_start(client: Client, queue: str) -> None:
    job = Ticker()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Ticker, new_key())
        await ticker.start()
        await eventually(lambda: len(job.runs) >= 6)
        started_at = (await status_of(ticker)).started_at
        await ticker.terminate()
    numbers = [(run.due_at - started_at) / SOON for run in job.runs]
    assert numbers[0] == 0
    assert all(abs(number - round(number)) < 1e-3 for number in numbers)
    assert all(later - earlier > 0.5 for earlier, later in pairwise(numbers))


async def test_no_tick_runs_before_it_is_due(client: Client, queue: str) -> None:
    late: list[timedelta] = []

    class Timed(Ticker):
        async def execute(self, run: ContinuousRun[int]) -> None:
            late.append(datetime.now(UTC) - run.due_at)

    async with running_worker(client, queue, Timed()) as jobs:
        ticker = jobs.continuous(Timed, new_key())
        await ticker.start()
        await eventually(lambda: len(late) >= 6)
        await ticker.terminate()
    assert min(late) > timedelta(milliseconds=-5)


async def test_jitter_delays_a_run_and_not_its_due_time(client: Client, queue: str) -> None:
    late: list[timedelta] = []

    class Jittered(Ticker):
        schedule = Every(SOON, jitter=SOON * 0.8)

        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            late.append(datetime.now(UTC) - run.due_at)

    job = Jittered()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Jittered, new_key())
        await ticker.start()
        await eventually(lambda: max(late, default=SOON * 0) > SOON * 0.4)
        started_at = (await status_of(ticker)).started_at
        await ticker.terminate()
    numbers = [(run.due_at - started_at) / SOON for run in job.runs]
    assert all(abs(number - round(number)) < 1e-3 for number in numbers)


async def test_a_run_longer_than_its_interval_never_overlaps_the_next(
    client: Client, queue: str
) -> None:
    class Slow(Held):
        schedule = Every(SOON)
        start_immediately = True

    job = Slow()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Slow, new_key())
        await ticker.start()
        for number in range(3):
            await eventually(lambda n=number: len(job.runs) == n + 1)
            await let_pass(2.5 * SOON)
            assert len(job.runs) == number + 1
            job.let_go.release()
        await eventually(lambda: len(job.runs) == 4)
        await ticker.terminate()
    assert job.most == 1
    # What a long run missed is skipped, not made up for.
    assert all(
        later.due_at - earlier.due_at >= 3 * SOON - timedelta(milliseconds=1)
        for earlier, later in pairwise(job.runs)
    )


# -- trigger --------------------------------------------------------------------------------


async def test_a_trigger_runs_at_once_and_is_due_at_that_moment(client: Client, queue: str) -> None:
    job = Idle()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Idle, new_key())
        await ticker.start()
        await eventually(ticker.status)  # what comes with the start has the start's time
        before = datetime.now(UTC)
        assert await ticker.trigger()
        [run] = await eventually(lambda: job.runs)
        assert before - timedelta(milliseconds=5) <= run.due_at <= datetime.now(UTC)
        await ticker.terminate()


async def test_a_trigger_leaves_the_schedule_as_it_is(client: Client, queue: str) -> None:
    job = Idle()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Idle, new_key())
        await ticker.start()
        await until_status(ticker, "scheduled")
        await ticker.trigger()
        await eventually(lambda: job.runs)
        status = await until_status(ticker, "scheduled")
        assert status.next_run_at == status.started_at + NEVER
        await ticker.terminate()


async def test_triggers_during_a_run_make_one_more_run_after_it(client: Client, queue: str) -> None:
    job = Held()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Held, new_key())
        await ticker.start()
        await ticker.trigger()
        await eventually(lambda: len(job.runs) == 1)
        for _ in range(3):
            await ticker.trigger()
        job.let_go.release()
        await eventually(lambda: len(job.runs) == 2)
        job.let_go.release()
        await until_status(ticker, "scheduled")
        assert (job.most, len(job.runs)) == (1, 2)
        assert await ticker.state() == 2
        await ticker.terminate()


# -- pause ----------------------------------------------------------------------------------


async def test_a_paused_instance_runs_no_tick(client: Client, queue: str) -> None:
    job = Ticker()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Ticker, new_key())
        await ticker.start()
        await eventually(lambda: job.runs)
        await ticker.pause()
        paused = await until_status(ticker, "paused")
        await let_pass(3 * SOON)
        assert (await status_of(ticker)).run_count == paused.run_count
        await ticker.terminate()


async def test_a_pause_lets_the_run_under_way_finish(client: Client, queue: str) -> None:
    job = Held()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Held, new_key())
        await ticker.start()
        await ticker.trigger()
        await eventually(lambda: job.runs)
        await ticker.pause()
        assert (await status_of(ticker)).status == "running"
        job.let_go.release()
        await until_status(ticker, "paused")
        assert await ticker.state() == 1
        await ticker.terminate()


async def test_resume_goes_on_without_a_burst_for_missed_ticks(client: Client, queue: str) -> None:
    job = Ticker()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Ticker, new_key())
        await ticker.start()
        await eventually(lambda: job.runs)
        await ticker.pause()
        await until_status(ticker, "paused")
        before = len(job.runs)
        await let_pass(4 * SOON)
        resumed = datetime.now(UTC)
        await ticker.resume()
        await eventually(lambda: len(job.runs) >= before + 2)
        status = await status_of(ticker)
        await ticker.terminate()
    later = [run.due_at for run in job.runs[before:]]
    assert later[0] > resumed - timedelta(milliseconds=5)
    assert all((b - a) / SOON > 0.5 for a, b in pairwise(later))
    numbers = [(due - status.started_at) / SOON for due in later]
    assert all(abs(number - round(number)) < 1e-3 for number in numbers)


async def test_resume_of_an_instance_that_is_not_paused_changes_nothing(
    client: Client, queue: str
) -> None:
    job = Ticker()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Ticker, new_key())
        await ticker.start()
        await eventually(lambda: len(job.runs) >= 2)
        assert await ticker.resume()
        await eventually(lambda: len(job.runs) >= 4)
        await ticker.terminate()
    assert all((b.due_at - a.due_at) / SOON > 0.5 for a, b in pairwise(job.runs))


async def test_a_trigger_of_a_paused_instance_runs_once(client: Client, queue: str) -> None:
    job = Ticker()
    async with running_worker(client, queue, job) as jobs:
        ticker = jobs.continuous(Ticker, new_key())
        await ticker.start()
        await eventually(lambda: job.runs)
        await ticker.pause()
        paused = await until_status(ticker, "paused")
        await ticker.trigger()
        await until_run(ticker, paused.run_count + 1)
        await let_pass(2 * SOON)
        status = await until_status(ticker, "paused")
        assert status.run_count == paused.run_count + 1
        await ticker.terminate()


async def test_an_instance_paused_before_its_first_tick_waits(client: Client, queue: str) -> None:
    job = Ticker()
    ticker = JobClient(client, task_queue=queue).continuous(Ticker, new_key())
    await ticker.start()
    await ticker.pause()
    async with running_worker(client, queue, job):
        await until_status(ticker, "paused")
        assert not job.runs
        await ticker.resume()
        await eventually(lambda: job.runs)
        await ticker.terminate()
