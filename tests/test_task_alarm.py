"""The alarm of a task, and what it does when there is nothing left to do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import TaskJob, TaskRun
from durable_jobs.tracking import MemorySink, Tracking
from tests.jobs import (
    QUICK,
    let_pass,
    new_key,
    result_of,
    running_worker,
    status_of,
    until_run,
    until_settled,
    until_status,
)
from tests.support import eventually

SOON = timedelta(milliseconds=150)
HOUR = timedelta(hours=1)

Script = Callable[[TaskRun[int]], Awaitable[None]]


class Follow(TaskJob[str, int]):
    """Follows up: what an event or the alarm does is up to the test."""

    name = "follow"
    retry = QUICK

    def __init__(self, on_event: Script, on_alarm: Script | None = None) -> None:
        self._on_event, self._on_alarm = on_event, on_alarm
        self.events: list[str] = []
        self.alarms: list[datetime] = []
        self.seen: list[datetime | None] = []

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        self.events.append(event)
        self.seen.append(run.scheduled_at)
        await self._on_event(run)

    async def execute(self, run: TaskRun[int]) -> None:
        self.alarms.append(datetime.now(UTC))
        if self._on_alarm is not None:
            await self._on_alarm(run)


class Idling(Follow):
    """The same, and notes when it becomes idle."""

    def __init__(
        self, on_event: Script, on_alarm: Script | None = None, on_idle: Script | None = None
    ) -> None:
        super().__init__(on_event, on_alarm)
        self._on_idle = on_idle
        self.idle: list[int] = []

    async def on_idle(self, run: TaskRun[int]) -> None:
        self.idle.append(run.run_count)
        if self._on_idle is not None:
            await self._on_idle(run)


async def nothing(run: TaskRun[int]) -> None:
    """Does nothing."""


async def soon(run: TaskRun[int]) -> None:
    """Sets the alarm to ring soon."""
    run.schedule(SOON)


async def much_later(run: TaskRun[int]) -> None:
    """Sets the alarm to ring in an hour."""
    run.schedule(HOUR)


async def test_the_alarm_runs_execute_after_its_time(client: Client, queue: str) -> None:
    job = Follow(soon)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        before = datetime.now(UTC)
        await follow.send("event")
        [rang] = await eventually(lambda: job.alarms)
        assert SOON <= rang - before < timedelta(seconds=5)
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
        else:
            run.cancel_schedule()
            assert run.scheduled_at is None

    job = Follow(on_then_off)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("on")
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
        await eventually(lambda: len(job.events) == 60, within=20)
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
        await eventually(lambda: len(job.events) == 6, within=5)
        await follow.terminate()


async def test_a_paused_alarm_rings_once_after_resume(client: Client, queue: str) -> None:
    job = Follow(soon)
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        await until_status(follow, "scheduled")
        await follow.pause()
        await let_pass(SOON * 2)
        assert not job.alarms
        assert (await status_of(follow)).status == "paused"
        await follow.resume()
        await eventually(lambda: job.alarms)
        await until_settled(follow)
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


# -- idle -----------------------------------------------------------------------------------


async def test_on_idle_runs_once_each_time_the_task_becomes_idle(
    client: Client, queue: str
) -> None:
    job = Idling(nothing)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("event")
        await eventually(lambda: job.idle == [2])
        await idling.pause()
        await idling.resume()
        await until_settled(idling)
        await idling.send("another event")
        await eventually(lambda: job.idle == [2, 4])
        await until_settled(idling)
        assert job.idle == [2, 4]
        await idling.terminate()


async def test_on_idle_waits_until_nothing_is_queued(client: Client, queue: str) -> None:
    job = Idling(nothing)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("0")
        await eventually(lambda: job.idle == [2])
        await idling.pause()
        for number in range(1, 5):
            await idling.send(str(number))
        await idling.resume()
        await eventually(lambda: len(job.idle) == 2)
        assert (len(job.events), job.idle) == (5, [2, 7])
        await idling.terminate()


async def test_on_idle_does_not_run_while_an_alarm_is_set(client: Client, queue: str) -> None:
    job = Idling(soon)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("event")
        await until_status(idling, "scheduled")
        assert not job.idle
        await eventually(lambda: job.idle)
        assert (len(job.alarms), job.idle) == (1, [3])
        await idling.terminate()


async def test_on_idle_can_end_the_instance(client: Client, queue: str) -> None:
    async def end(run: TaskRun[int]) -> None:
        run.terminate("nothing to do")

    job = Idling(nothing, on_idle=end)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("event")
        result: dict[str, Any] = await result_of(client, idling.instance_id)
        assert (result["status"], result["reason"]) == ("terminated", "nothing to do")


async def test_on_idle_can_set_the_alarm(client: Client, queue: str) -> None:
    async def first_time(run: TaskRun[int]) -> None:
        if run.execute_count == 0:
            run.schedule(timedelta())

    job = Idling(nothing, on_idle=first_time)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("event")
        await eventually(lambda: len(job.idle) == 2)
        assert len(job.alarms) == 1
        await idling.terminate()


@pytest.mark.parametrize("job", [Follow(nothing), Follow(soon)])
async def test_a_task_without_on_idle_just_waits(client: Client, queue: str, job: Follow) -> None:
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        await until_settled(follow)
        await follow.terminate()
