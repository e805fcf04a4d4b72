"""The alarm of a task: when it rings, and what sets it."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

from temporalio.client import Client

from durable_jobs import TaskRun
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import (
    let_pass,
    new_key,
    result_of,
    running_worker,
    status_of,
    until_run,
    until_settled,
    until_status,
)
from tests.task.jobs import HOUR, SOON, Follow, Idling, much_later, soon


async def test_the_alarm_runs_execute_after_its_time(client: Client, queue: str) -> None:
    job = Follow(soon)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        before = datetime.now(UTC)
        await follow.send("event")
        [rang] = await eventually(lambda: job.alarms)
        assert rang - before >= SOON
        status = await until_settled(follow)
        assert (status.next_run_at, status.run_count) == (None, 2)
        await follow.terminate()


async def test_an_alarm_may_be_set_for_a_moment_in_any_time_zone(
    client: Client, queue: str
) -> None:
    moment = datetime.now(UTC) + HOUR

    async def at_the_moment(run: TaskRun[int]) -> None:
        run.schedule(moment.astimezone(timezone(timedelta(hours=5, minutes=30))))
        assert run.scheduled_at == moment

    job = Follow(at_the_moment)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        status = await until_status(follow, "scheduled")
        assert status.next_run_at == moment
        await follow.terminate()


async def test_an_alarm_for_a_moment_that_is_over_rings_at_once(client: Client, queue: str) -> None:
    async def yesterday(run: TaskRun[int]) -> None:
        run.schedule(datetime.now(UTC) - timedelta(days=1))

    job = Follow(yesterday)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        await eventually(lambda: job.alarms)
        await until_settled(follow)
        await follow.terminate()


async def test_a_datetime_without_a_time_zone_is_a_value_error(client: Client, queue: str) -> None:
    errors: list[str] = []

    async def naive(run: TaskRun[int]) -> None:
        try:
            run.schedule(datetime(2026, 3, 1))  # noqa: DTZ001 - the error under test
        except ValueError as error:
            errors.append(str(error))

    job = Follow(naive)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        status = await until_settled(follow)
        assert status.next_run_at is None
        assert "aware datetime" in errors[0]
        await follow.terminate()


async def test_a_second_schedule_replaces_the_first(client: Client, queue: str) -> None:
    async def twice(run: TaskRun[int]) -> None:
        run.schedule(timedelta())
        run.schedule(HOUR)

    job = Follow(twice)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        before = datetime.now(UTC)
        await follow.send("event")
        first = await until_status(follow, "scheduled")
        assert first.next_run_at is not None
        assert first.next_run_at >= before + HOUR
        await follow.send("another event")
        second = await until_run(follow, 2)
        assert second.next_run_at is not None
        assert second.next_run_at > first.next_run_at
        assert not job.alarms
        assert job.seen == [None, first.next_run_at]
        await follow.terminate()


async def test_an_event_leaves_the_alarm_as_it_is(client: Client, queue: str) -> None:
    async def first_only(run: TaskRun[int]) -> None:
        if run.is_first_event:
            run.schedule(SOON)

    job = Follow(first_only)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        for number in range(5):
            await follow.send(f"event {number}")
        await eventually(lambda: job.alarms and len(job.events) == 5)
        await until_settled(follow)
        assert len(job.alarms) == 1
        await follow.terminate()


async def test_cancel_schedule_silences_the_alarm(client: Client, queue: str) -> None:
    async def on_then_off(run: TaskRun[int]) -> None:
        if run.is_first_event:
            run.schedule(SOON)
            run.cancel_schedule()
            run.schedule(HOUR)
        else:
            run.cancel_schedule()
            assert run.scheduled_at is None

    job = Follow(on_then_off)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("on")
        await until_status(follow, "scheduled")
        await follow.send("off")
        status = await until_run(follow, 2)
        assert (status.status, status.next_run_at) == ("idle", None)
        await let_pass(SOON * 2)
        assert not job.alarms
        await follow.terminate()


async def test_the_alarm_can_set_itself_again(client: Client, queue: str) -> None:
    async def three_times(run: TaskRun[int]) -> None:
        assert run.scheduled_at is None
        run.state += 1
        if run.execute_count < 3:
            run.schedule(SOON / 3)

    job = Follow(soon, three_times)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        await eventually(lambda: len(job.alarms) == 3)
        await until_settled(follow)
        assert await follow.state() == 3
        await follow.terminate()


async def test_the_alarm_is_not_starved_by_events(client: Client, queue: str) -> None:
    rang_after: list[int] = []

    async def first_only(run: TaskRun[int]) -> None:
        if run.is_first_event:
            run.schedule(SOON)
        await asyncio.sleep(0.01)

    async def count(run: TaskRun[int]) -> None:
        rang_after.append(run.event_count)

    job = Follow(first_only, count)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        for number in range(60):
            await follow.send(f"event {number}")
        await eventually(lambda: rang_after)
        await eventually(lambda: len(job.events) == 60)
        await follow.terminate()
    assert 0 < rang_after[0] < 60


async def test_events_are_not_starved_by_an_alarm_that_rings_all_the_time(
    client: Client, queue: str
) -> None:
    async def at_once(run: TaskRun[int]) -> None:
        run.schedule(timedelta())

    job = Follow(at_once, at_once)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("first")
        await eventually(lambda: len(job.alarms) >= 2)
        for number in range(5):
            await follow.send(f"event {number}")
        await eventually(lambda: len(job.events) == 6)
        await follow.terminate()


async def test_a_paused_alarm_rings_once_after_resume(client: Client, queue: str) -> None:
    paused = asyncio.Event()

    async def soon_after_the_pause(run: TaskRun[int]) -> None:
        await paused.wait()
        run.schedule(SOON)

    job = Follow(soon_after_the_pause)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        await follow.pause()
        paused.set()
        await until_status(follow, "paused")
        await let_pass(SOON * 2)
        assert not job.alarms
        assert (await status_of(follow)).status == "paused"
        await follow.resume()
        await eventually(lambda: job.alarms)
        await until_status(follow, "idle")
        assert len(job.alarms) == 1
        await follow.terminate()


async def test_a_trigger_leaves_the_alarm_set(client: Client, queue: str) -> None:
    job = Follow(much_later)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        before = await until_status(follow, "scheduled")
        await follow.trigger()
        after = await until_run(follow, 2)
        assert len(job.alarms) == 1
        assert after.next_run_at == before.next_run_at
        await follow.terminate()


async def test_a_failing_attempt_drops_its_alarm_its_end_and_its_state(
    client: Client, queue: str
) -> None:
    async def fails_first(run: TaskRun[int]) -> None:
        run.state += 1
        if not run.is_retry:
            run.schedule(timedelta())
            run.terminate("never")
            raise ValueError("not yet")
        assert run.scheduled_at is None

    job = Follow(fails_first)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        status = await until_run(follow, 1)
        assert (status.status, status.next_run_at, status.run_count) == ("idle", None, 1)
        assert await follow.state() == 1
        assert (len(job.events), job.alarms) == (2, [])
        await follow.terminate()


async def test_each_setting_of_the_alarm_is_tracked_with_what_set_it(
    client: Client, queue: str
) -> None:
    async def again(run: TaskRun[int]) -> None:
        if run.execute_count == 1:
            run.schedule(timedelta())

    async def once(run: TaskRun[int]) -> None:
        if run.execute_count == 2:
            run.schedule(HOUR)

    sink = MemorySink()
    job = Idling(soon, again, once)
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        follow = jobs.task(Idling, new_key())
        await follow.send("event")
        status = await until_run(follow, 4)
        await follow.terminate()
        await result_of(client, follow.instance_id)
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    set_by = [e for e in sink.events if e["type"] == "task.scheduled"]
    assert [event["trigger"] for event in set_by] == ["event", "execute", "idle"]
    assert status.next_run_at is not None
    shown = datetime.fromisoformat(set_by[-1]["scheduledAt"])
    assert timedelta() <= status.next_run_at - shown < timedelta(milliseconds=1)
