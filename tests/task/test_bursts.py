"""Many events at once: one activity handles a burst of them, as if each had come alone."""

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from temporalio.client import Client, WorkflowHistory

from durable_jobs import JobClient, JobsPlugin, NonRetryable, Retry, TaskJob, TaskRun
from durable_jobs.activities import burst
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import (
    at_most,
    new_key,
    result_of,
    running_worker,
    status_of,
    until_settled,
    until_status,
)
from tests.support.lives import assert_replays, histories_of, in_order

ALARM = 1_000_000


class Roll(TaskJob[int, list[int], int]):
    """Keeps the numbers it got, and notes each attempt. Fails with those it is told to refuse."""

    name = "roll"
    retry = at_most(3)
    refused: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        self.runs: list[TaskRun[list[int]]] = []
        self.numbers: list[int] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def on_event(self, run: TaskRun[list[int]], event: int) -> int:
        self.runs.append(run)
        self.numbers.append(event)
        assert run.state == [n for n in self.numbers[:-1] if n not in self.refused][-50:]
        run.state = [*run.state, event][-50:]
        await self.hold.wait()
        await self.more(run, event)
        if event in self.refused:
            raise ValueError(f"no {event}")
        return run.event_count

    async def more(self, run: TaskRun[list[int]], event: int) -> None:
        """What a test adds."""

    async def execute(self, run: TaskRun[list[int]]) -> None:
        self.runs.append(run)
        self.numbers.append(ALARM)


async def burst_of(jobs: JobClient, job: Roll, numbers: range) -> Any:
    """An instance that has these events waiting, and is held up by the one before them."""
    roll = jobs.task(type(job), new_key())
    job.hold.clear()
    await roll.send(numbers.start - 1)
    await eventually(lambda: job.runs)
    await _send_all(roll, numbers)
    return roll


async def _send_all(roll: Any, numbers: range) -> None:
    await asyncio.gather(*(roll.send(number, id=f"event-{number}") for number in numbers))


def activities_in(histories: list[WorkflowHistory]) -> int:
    return sum(
        event.HasField("activity_task_scheduled_event_attributes")
        for history in histories
        for event in history.events
    )


async def replaying(client: Client, queue: str, *jobs: TaskJob[Any, Any, Any]) -> Any:
    """The histories of a queue, which replay."""
    histories = await histories_of(client, queue)
    await assert_replays(histories, JobsPlugin(list(jobs)))
    return histories


async def test_ten_thousand_events_at_once_are_handled_once_each_in_order_by_few_activities(
    client: Client, queue: str
) -> None:
    job, sink = Roll(), MemorySink()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        roll = jobs.task(Roll, new_key())
        sending = asyncio.gather(*(roll.send(number) for number in range(10_000)))
        asked = [await roll.ask(-number, timeout=timedelta(seconds=60)) for number in range(1, 6)]
        await sending
        await eventually(lambda: len(job.numbers) == 10_005, within=90)
        status = await until_settled(roll)
        assert (status.run_count, status.event_count) == (10_005, 0)
        assert await roll.state() == job.numbers[-50:]
        await roll.terminate()
        await result_of(client, roll.instance_id)
        tracked = await eventually(lambda: _ended(sink, roll.instance_id))
    assert [number for number in job.numbers if number >= 0] == list(range(10_000))
    assert asked == sorted(asked)
    assert asked[0] < 9_000
    assert [run.run_count for run in job.runs] == list(range(1, 10_006))
    assert [run.event_count for run in job.runs] == list(range(1, 10_006))
    assert len({run.idempotency_key for run in job.runs}) == 10_005
    executed = [event["runCount"] for event in tracked if event["type"] == "job.executed"]
    assert executed == list(range(1, 10_006))
    histories = await replaying(client, queue, job)
    assert activities_in(histories) <= 10_005 / 50
    assert all(len(history.events) <= 10_000 for history in histories)


def _ended(sink: MemorySink, instance_id: str) -> list[Any]:
    events = in_order(sink.events, instance_id)
    return events if events and events[-1]["type"] == "job.terminated" else []


async def test_a_failing_event_stops_the_burst_at_itself_and_is_tried_again_alone(
    client: Client, queue: str
) -> None:
    class Refusing(Roll):
        refused: ClassVar[set[int]] = {5}

    job, sink = Refusing(), MemorySink()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        roll = await burst_of(jobs, job, range(1, 11))
        job.hold.set()
        status = await until_settled(roll)
        assert await roll.state() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
        await roll.terminate()
        await result_of(client, roll.instance_id)
        tracked = await eventually(lambda: _ended(sink, roll.instance_id))
    assert job.numbers == [0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9, 10]
    tries = [run for run, number in zip(job.runs, job.numbers, strict=True) if number == 5]
    assert [run.attempt for run in tries] == [1, 2, 3]
    assert {run.run_count for run in tries} == {6}
    assert len({run.idempotency_key for run in tries}) == 1
    assert len({run.idempotency_key for run in job.runs}) == 11
    assert [run.event_count for run in job.runs] == [1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9, 10, 11]
    [failed] = status.failed_events
    assert (failed["event"], failed["attempts"]) == ({"data": 5, "id": "event-5"}, 3)
    kinds = [(e["type"], e.get("runCount"), e.get("attempt")) for e in tracked]
    assert [kind for kind in kinds if kind[1] == 6] == [
        *[("job.failed", 6, 1), ("job.failed", 6, 2), ("job.failed", 6, 3)]
    ]
    executed = [run for kind, run, _ in kinds if kind == "job.executed"]
    assert executed == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    await replaying(client, queue, job)


async def test_an_event_that_fails_for_good_in_a_burst_is_set_aside(
    client: Client, queue: str
) -> None:
    class Never(Roll):
        refused: ClassVar[set[int]] = {3}

        async def on_event(self, run: TaskRun[list[int]], event: int) -> int:
            if event == 3:
                self.numbers.append(3)
                raise NonRetryable("never")
            return await super().on_event(run, event)

    job = Never()
    async with running_worker(client, queue, job) as jobs:
        roll = await burst_of(jobs, job, range(1, 6))
        job.hold.set()
        status = await until_settled(roll)
        assert [entry["event"]["data"] for entry in status.failed_events] == [3]
        assert await roll.state() == [0, 1, 2, 4, 5]
        await roll.terminate()
    assert job.numbers == [0, 1, 2, 3, 4, 5]
    await replaying(client, queue, job)


async def test_a_burst_ends_with_the_event_that_sets_an_alarm_which_is_due(
    client: Client, queue: str
) -> None:
    class Alarming(Roll):
        refused: ClassVar[set[int]] = {ALARM}

        async def more(self, run: TaskRun[list[int]], event: int) -> None:
            if event == 2:
                run.schedule(timedelta())

    job = Alarming()
    async with running_worker(client, queue, job) as jobs:
        roll = await burst_of(jobs, job, range(1, 5))
        job.hold.set()
        await until_settled(roll)
        await roll.terminate()
    assert job.numbers == [0, 1, 2, ALARM, 3, 4]


async def test_what_waits_behind_an_event_that_ends_the_instance_opens_its_next_life(
    client: Client, queue: str
) -> None:
    class Ending(Roll):
        async def on_event(self, run: TaskRun[list[int]], event: int) -> int:
            self.runs.append(run)
            self.numbers.append(event)
            await self.hold.wait()
            if event == 3:
                run.terminate("three")
            return run.event_count

    job, sink = Ending(), MemorySink()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        roll = await burst_of(jobs, job, range(1, 7))
        job.hold.set()
        await eventually(lambda: len(job.numbers) == 7)
        await until_settled(roll)
        await roll.terminate("done")
        ended = await result_of(client, roll.instance_id)
        assert (ended["runCount"], ended["discardedEvents"]) == (3, 0)
        await eventually(lambda: len(_ends(sink)) == 2)
    assert job.numbers == list(range(7))
    assert [run.event_count for run in job.runs] == [1, 2, 3, 4, 1, 2, 3]
    assert _ends(sink) == [("three", 4, 0), ("done", 3, 0)]


def _ends(sink: MemorySink) -> list[Any]:
    ends = [event for event in sink.events if event["type"] == "job.terminated"]
    return [(end["reason"], end["runCount"], end["discardedEvents"]) for end in ends]


async def test_terminate_in_a_burst_keeps_what_was_handled_and_counts_the_rest(
    client: Client, queue: str
) -> None:
    class Stopping(Roll):
        heartbeat_timeout = timedelta(seconds=1.5)

        async def more(self, run: TaskRun[list[int]], event: int) -> None:
            if event == 4:
                await asyncio.Event().wait()

    job = Stopping()
    async with running_worker(client, queue, job) as jobs:
        roll = await burst_of(jobs, job, range(1, 11))
        job.hold.set()
        await eventually(lambda: 4 in job.numbers)
        await roll.terminate("enough")
        ended = await result_of(client, roll.instance_id)
        assert (ended["reason"], ended["runCount"]) == ("enough", 4)
        assert ended["discardedEvents"] == 7
        assert await roll.state() == [0, 1, 2, 3]
    await replaying(client, queue, job)


async def test_a_pause_takes_effect_within_a_long_burst(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burst, "MAX_SECONDS", 0.1)

    class Slow(Roll):
        pace = 0.1

        async def more(self, run: TaskRun[list[int]], event: int) -> None:
            await asyncio.sleep(self.pace)

    job = Slow()
    async with running_worker(client, queue, job) as jobs:
        roll = await burst_of(jobs, job, range(1, 60))
        job.hold.set()
        await eventually(lambda: len(job.numbers) > 3)
        await roll.pause()
        status = await until_status(roll, "paused")
        handled = len(job.numbers)
        assert handled + status.event_count == 60
        assert handled < 50
        job.pace = 0
        await roll.resume()
        await eventually(lambda: len(job.numbers) == 60)
        assert job.numbers == list(range(60))
        await until_settled(roll)
        await roll.terminate()
    await replaying(client, queue, job)


async def test_each_event_of_a_burst_has_the_whole_timeout(client: Client, queue: str) -> None:
    class Timed(Roll):
        timeout = timedelta(seconds=1.5)
        retry = Retry(1)
        refused: ClassVar[set[int]] = {3}

        async def more(self, run: TaskRun[list[int]], event: int) -> None:
            # All together take longer than one may.
            await asyncio.sleep(60 if event == 3 else 0.4)

    job = Timed()
    async with running_worker(client, queue, job) as jobs:
        roll = jobs.task(Timed, new_key())
        await roll.send(-1)
        await until_settled(roll)
        await _send_all(roll, range(6))
        await eventually(lambda: len(job.numbers) == 7)
        status = await until_settled(roll)
        assert [entry["event"]["data"] for entry in status.failed_events] == [3]
        assert (await status_of(roll)).run_count == 7
        await roll.terminate()
