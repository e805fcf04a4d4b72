"""Jobs that decide themselves when to come back."""

from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs import ContinuousRun, Every
from tests.support import eventually
from tests.support.jobs import QUICK, new_key, result_of, running_worker, status_of, until_status
from tests.support.skipping import HOUR, Noting, skip_to_the_end

NOTICEABLE = timedelta(seconds=2)


class Hourly(Noting):
    schedule = Every(HOUR)


async def test_a_run_chooses_when_the_next_tick_is_due_and_the_schedule_goes_on_after_it(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    class Chooser(Hourly):
        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            if run.run_count == 2:
                run.next_in(HOUR / 4)
            if run.run_count == 3:
                run.next_in(HOUR / 4)
                run.next_at(run.due_at + 4.5 * HOUR)

    job = Chooser(6)
    async with running_worker(time_skipping.client, queue, job) as jobs:
        chooser = jobs.continuous(Chooser, new_key())
        await chooser.start()
        await skip_to_the_end(time_skipping, chooser)
    hours = job.hours()
    assert (hours[:2], hours[4:]) == ([0, 1], [6, 7])
    assert abs(hours[2] - 1.25) < NOTICEABLE / HOUR
    assert abs(hours[3] - 5.75) < 2 * NOTICEABLE / HOUR
    assert hours[3] - hours[2] == 4.5


async def test_what_a_failing_attempt_chose_is_dropped(client: Client, queue: str) -> None:
    class Failing(Hourly):
        retry = QUICK

        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            if run.attempt < 3:
                run.next_in(timedelta(minutes=run.attempt))
                raise ValueError("not yet")

    job = Failing()
    async with running_worker(client, queue, job) as jobs:
        failing = jobs.continuous(Failing, new_key())
        await failing.start()
        await eventually(lambda: len(job.runs) == 3)
        status = await until_status(failing, "scheduled")
        assert status.next_run_at == status.started_at + HOUR
        await failing.terminate()


async def test_a_time_that_has_passed_is_at_once(client: Client, queue: str) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)

    class Drain(Hourly):
        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            if run.run_count < 4:
                run.next_at(long_ago)

    job = Drain(4)
    async with running_worker(client, queue, job) as jobs:
        drain = jobs.continuous(Drain, new_key())
        await drain.start()
        await result_of(client, drain.instance_id)
    assert [run.due_at for run in job.runs[1:]] == [long_ago] * 3


async def test_a_time_without_a_zone_raises(client: Client, queue: str) -> None:
    raised: list[ValueError] = []

    class Naive(Hourly):
        def execute(self, run: ContinuousRun[int]) -> None:  # type: ignore[override]
            try:
                run.next_at(datetime(2030, 1, 1))  # noqa: DTZ001
            except ValueError as error:
                raised.append(error)
            run.terminate()

    async with running_worker(client, queue, Naive()) as jobs:
        naive = jobs.continuous(Naive, new_key())
        await naive.start()
        await result_of(client, naive.instance_id)
    assert "next_at needs an aware datetime" in str(raised[0])


async def test_a_chosen_time_outlives_a_pause_and_a_trigger(client: Client, queue: str) -> None:
    class Chooser(Hourly):
        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            if run.run_count == 1:
                run.next_in(5 * HOUR)

    job = Chooser()
    async with running_worker(client, queue, job) as jobs:
        chooser = jobs.continuous(Chooser, new_key())
        await chooser.start()
        await eventually(lambda: job.runs)
        chosen = (await until_status(chooser, "scheduled")).next_run_at
        assert chosen is not None
        assert chosen > job.runs[0].due_at + 4 * HOUR
        await chooser.pause()
        await chooser.trigger()
        await eventually(lambda: len(job.runs) == 2)
        await until_status(chooser, "paused")
        await chooser.resume()
        await until_status(chooser, "scheduled")
        assert (await status_of(chooser)).next_run_at == chosen
        await chooser.terminate()
