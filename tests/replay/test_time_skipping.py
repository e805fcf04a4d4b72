"""Days and weeks of jobs, on a server that skips the time in which nothing happens."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Cron,
    DebounceJob,
    DebounceRun,
    Every,
    Retry,
    RetryAfter,
    TaskJob,
    TaskRun,
)
from tests.support import eventually
from tests.support.jobs import running_worker, status_of, until_status
from tests.support.skipping import DAY, HOUR, Noting, skip_to_the_end

BERLIN = ZoneInfo("Europe/Berlin")
NOTICEABLE = timedelta(seconds=2)
"""More than any delay of a machine at work, less than any time that is skipped."""


async def test_an_hourly_job_keeps_its_due_times_for_days(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    class Hourly(Noting):
        schedule = Every(HOUR)

    job = Hourly(runs=49)
    async with running_worker(time_skipping.client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, "two-days")
        await hourly.start()
        await skip_to_the_end(time_skipping, hourly)
        started_at = (await status_of(hourly)).started_at
    assert [run.due_at for run in job.runs] == [started_at + n * HOUR for n in range(49)]


@pytest.mark.parametrize("hours", [23, 25])
async def test_a_daily_cron_job_follows_its_time_zone_over_a_change_of_clock(
    time_skipping: WorkflowEnvironment, queue: str, hours: int
) -> None:
    class Daily(Noting):
        schedule = Cron("30 7 * * *", timezone="Europe/Berlin")

    env = time_skipping
    now = await env.get_current_time()
    begin = _day_that_has(hours, now.date() + 4 * DAY) - 3 * DAY
    await env.sleep(_in_berlin(begin, 0) - now)
    job = Daily(runs=7)
    async with running_worker(env.client, queue, job) as jobs:
        daily = jobs.continuous(Daily, "a-week")
        await daily.start()
        await skip_to_the_end(env, daily)
    dues = [run.due_at for run in job.runs]
    assert dues == [_in_berlin(begin + n * DAY, 7.5) for n in range(7)]
    steps = [(later - earlier) / HOUR for earlier, later in pairwise(dues)]
    assert sorted(steps) == sorted([24] * 5 + [hours])


def _day_that_has(hours: int, day: date) -> date:
    """The first day, from `day` on, that has so many hours."""
    while _in_berlin(day + DAY, 0) - _in_berlin(day, 0) != hours * HOUR:
        day += DAY
    return day


def _in_berlin(day: date, hour: float) -> datetime:
    clock = time(int(hour), round(hour % 1 * 60), tzinfo=BERLIN)
    return datetime.combine(day, clock).astimezone(UTC)


async def test_a_debounce_flushes_hours_after_its_first_event(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    flushed: list[DebounceRun[int]] = []
    flushed_at: list[datetime] = []

    class Digest(DebounceJob[int, int]):
        name = "digest"
        flush_after = 6 * HOUR

        def reduce(self, state: int | None, event: int) -> int:
            return (state or 0) + event

        async def execute(self, run: DebounceRun[int]) -> None:
            flushed.append(run)
            flushed_at.append(await time_skipping.get_current_time())

    env = time_skipping
    async with running_worker(env.client, queue, Digest()) as jobs:
        digest = jobs.debounce(Digest, "hello")
        first = await digest.add_confirmed(1)
        for number in range(2, 6):
            await env.sleep(HOUR)
            receipt = await digest.add_confirmed(number)
            assert receipt.will_flush_at == first.will_flush_at
            assert not flushed
        await skip_to_the_end(env, digest)
        assert (flushed[0].state, flushed[0].event_count) == (15, 5)
        assert flushed[0].flush_reason == "timeout"
    passed = flushed_at[0] - flushed[0].window_opened_at
    assert 6 * HOUR <= passed < 6 * HOUR + NOTICEABLE
    assert first.will_flush_at is not None
    assert first.will_flush_at - flushed[0].window_opened_at == 6 * HOUR


async def test_a_tasks_alarm_rings_a_week_after_its_event(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    class FollowUp(TaskJob[str, list[str], None]):
        name = "follow-up"

        async def on_event(self, run: TaskRun[list[str]], event: str) -> None:
            run.schedule(7 * DAY)

        async def execute(self, run: TaskRun[list[str]]) -> None:
            now = await time_skipping.get_current_time()
            run.state.append(now.isoformat())
            if run.execute_count == 3:
                run.terminate()
            else:
                run.schedule(7 * DAY)

    env = time_skipping
    async with running_worker(env.client, queue, FollowUp()) as jobs:
        follow = jobs.task(FollowUp, "thread")
        before = await env.get_current_time()
        await follow.send("opened")
        status = await until_status(follow, "scheduled")
        assert status.next_run_at is not None
        assert 7 * DAY <= status.next_run_at - before < 7 * DAY + NOTICEABLE
        await skip_to_the_end(env, follow)
        rang = [datetime.fromisoformat(line) for line in await follow.state() or []]
    for number, moment in enumerate(rang, 1):
        assert number * 7 * DAY <= moment - before < number * 7 * DAY + 3 * NOTICEABLE


async def test_retries_with_a_long_backoff_wait_as_long_as_they_say(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    tried: list[datetime] = []

    class Patient(ContinuousJob[int]):
        name = "patient"
        schedule = Every(10 * DAY)
        retry = Retry(initial=HOUR, factor=3, maximum=12 * HOUR, jitter=False)

        async def execute(self, run: ContinuousRun[int]) -> None:
            tried.append(await time_skipping.get_current_time())
            if run.attempt == 5:
                raise RetryAfter(30 * HOUR, "come back later")
            if run.attempt < 7:
                raise ValueError("not yet")
            run.terminate()

    env = time_skipping
    async with running_worker(env.client, queue, Patient()) as jobs:
        patient = jobs.continuous(Patient, "waiting")
        await patient.start()
        result = await skip_to_the_end(env, patient)
    assert result["runCount"] == 1
    waits = [later - earlier for earlier, later in pairwise(tried)]
    for wait, hours in zip(waits, [1, 3, 9, 12, 30, 12], strict=True):
        assert abs(wait - hours * HOUR) < NOTICEABLE


async def test_a_daily_run_is_tried_again_until_the_next_one_is_due(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    runs: list[ContinuousRun[int]] = []
    tried: list[datetime] = []

    class Failing(ContinuousJob[int]):
        name = "failing"
        schedule = Every(DAY)
        retry = Retry(initial=HOUR, maximum=5 * HOUR, jitter=False)

        async def execute(self, run: ContinuousRun[int]) -> None:
            runs.append(run)
            tried.append(await time_skipping.get_current_time())
            if run.run_count < 4:
                raise ValueError("not yet")
            run.terminate()

    env = time_skipping
    async with running_worker(env.client, queue, Failing()) as jobs:
        failing = jobs.continuous(Failing, "waiting")
        await failing.start()
        await skip_to_the_end(env, failing)
        started_at = (await status_of(failing)).started_at
    # After 0, 1, 3, 7, 12, 17 and 22 hours; the next would be after the day.
    assert [run.attempt for run in runs] == [1, 2, 3, 4, 5, 6, 7] * 3 + [1]
    assert {run.due_at for run in runs} == {started_at + n * DAY for n in range(4)}
    for run, moment in zip(runs, tried, strict=True):
        waited = [0, 1, 3, 7, 12, 17, 22][run.attempt - 1] * HOUR
        assert waited <= moment - run.due_at < waited + NOTICEABLE


async def test_max_duration_ends_a_run_after_days(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    tried: list[int] = []

    class Limited(TaskJob[str, int]):
        name = "limited"
        on_exhausted = "terminate"
        retry = Retry(
            initial=12 * HOUR, maximum=DAY, backoff="fixed", max_duration=2.2 * DAY, jitter=False
        )

        async def on_event(self, run: TaskRun[int], event: str) -> None:
            tried.append(run.attempt)
            raise ValueError("not yet")

        async def execute(self, run: TaskRun[int]) -> None:
            pass

    env = time_skipping
    async with running_worker(env.client, queue, Limited()) as jobs:
        limited = jobs.task(Limited, "waiting")
        await limited.send("event")
        with pytest.raises(WorkflowFailureError):
            await skip_to_the_end(env, limited)
    assert tried == [1, 2, 3, 4, 5]


async def test_a_long_pause_is_not_made_up_for(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    class Hourly(Noting):
        schedule = Every(HOUR)

    env = time_skipping
    job = Hourly(runs=6)
    async with running_worker(env.client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, "paused")
        await hourly.start()
        await env.sleep(2.5 * HOUR)
        await eventually(lambda: len(job.runs) == 3)
        await hourly.pause()
        await until_status(hourly, "paused")
        await env.sleep(10 * DAY)
        assert len(job.runs) == 3
        await hourly.resume()
        await skip_to_the_end(env, hourly)
        started_at = (await status_of(hourly)).started_at
    expected = [0, 1, 2, 243, 244, 245]
    assert [(run.due_at - started_at) / HOUR for run in job.runs] == expected


async def test_a_paused_task_rings_its_alarm_once_after_a_long_pause(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    rang: list[datetime] = []

    class FollowUp(TaskJob[str, int]):
        name = "follow-up"

        async def on_event(self, run: TaskRun[int], event: str) -> None:
            run.schedule(HOUR)

        async def execute(self, run: TaskRun[int]) -> None:
            rang.append(await time_skipping.get_current_time())
            run.terminate()

    env = time_skipping
    async with running_worker(env.client, queue, FollowUp()) as jobs:
        follow = jobs.task(FollowUp, "thread")
        await follow.send("opened")
        await until_status(follow, "scheduled")
        await follow.pause()
        await env.sleep(5 * DAY)
        assert not rang
        resumed = await env.get_current_time()
        await follow.resume()
        await skip_to_the_end(env, follow)
    assert timedelta() <= rang[0] - resumed < NOTICEABLE
