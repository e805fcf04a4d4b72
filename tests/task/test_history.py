"""How a task continues as new: what it carries, and what it waits for."""

import asyncio
import secrets
from datetime import timedelta
from itertools import count

import pytest
from temporalio.client import Client

from durable_jobs import Busy, TaskJob, TaskRun
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles import TaskHandle, batch
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import (
    at_most,
    new_key,
    result_of,
    run_id_of,
    running_worker,
    status_of,
    until_settled,
    until_status,
    went_on,
)

HOUR = timedelta(hours=1)


class Counter(TaskJob[str, int, int]):
    """Counts its events, and notes them."""

    name = "counter"
    retry = at_most(1)

    def __init__(self) -> None:
        self.events: list[str] = []
        self.runs: list[TaskRun[int]] = []

    async def on_event(self, run: TaskRun[int], event: str) -> int:
        self.events.append(event[:10])
        self.runs.append(run)
        run.state += 1
        if event == "later":
            run.schedule(HOUR)
        if event == "bad":
            raise ValueError("bad")
        return run.state

    async def execute(self, run: TaskRun[int]) -> None:
        self.runs.append(run)


@pytest.fixture
def short_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continue as new every few events."""
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 100)


@pytest.mark.usefixtures("short_histories")
async def test_events_keep_their_order_and_none_is_lost_over_continue_as_new(
    client: Client, queue: str
) -> None:
    job = Counter()
    async with running_worker(client, queue, job) as jobs:
        counter = jobs.task(Counter, new_key())
        first = None
        for number in range(60):
            await counter.send(str(number), id=f"event-{number}")
            first = first or await run_id_of(client, counter.instance_id)
            if number % 10 == 0:
                await counter.send("twice", id=f"event-{number}")
        await eventually(lambda: len(job.events) == 60)
        await until_settled(counter)
        assert await run_id_of(client, counter.instance_id) != first
        assert await counter.state() == 60
        await counter.terminate()
    assert job.events == [str(number) for number in range(60)]
    assert [run.run_count for run in job.runs] == list(range(1, 61))
    assert [run.event_count for run in job.runs] == list(range(1, 61))
    assert len({run.idempotency_key for run in job.runs}) == 60
    assert len({run.created_at for run in job.runs}) == 1


async def test_many_signals_make_it_continue_as_new(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 20)
    job = Counter()
    async with running_worker(client, queue, job) as jobs:
        counter = jobs.task(Counter, new_key())
        await counter.send("0")
        first = await run_id_of(client, counter.instance_id)
        raw = client.get_workflow_handle(counter.instance_id)
        await asyncio.gather(*(raw.signal("send", str(number)) for number in range(1, 60)))
        await eventually(lambda: len(job.events) == 60)
        assert sorted(job.events) == sorted(str(number) for number in range(60))
        assert await run_id_of(client, counter.instance_id) != first
        assert (await until_settled(counter)).run_count == 60
        await counter.terminate()


async def test_the_alarm_the_failed_events_and_a_pause_are_carried(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(client, queue, Counter()) as jobs:
        counter = jobs.task(Counter, new_key())
        await counter.send("later")
        await counter.send("bad", id="event-1")
        await counter.send("good", id="event-2")
        await until_settled(counter)
        await counter.pause()
        before = await until_status(counter, "paused")
        first = await run_id_of(client, counter.instance_id)
        monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 5)
        await counter.pause()
        await eventually(lambda: went_on(client, counter.instance_id, first))
        monkeypatch.undo()
        assert await status_of(counter) == before
        assert (len(before.failed_events), before.run_count) == (1, 3)
        await counter.send("good", id="event-2")
        await counter.resume()
        after = await until_status(counter, "scheduled")
        assert after.next_run_at == before.next_run_at
        assert (after.event_count, after.run_count) == (0, 3)
        await counter.terminate()


async def test_a_backlog_too_large_to_carry_is_worked_off_first(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 5)
    job = Counter()
    async with running_worker(client, queue, job) as jobs:
        counter = jobs.task(Counter, new_key())
        await counter.send("first")
        await until_settled(counter)
        await counter.pause()
        for number in range(30):
            # What is random cannot be made smaller.
            await counter.send(f"{number:<10}" + secrets.token_hex(50_000))
        assert (await until_status(counter, "paused")).event_count == 30
        first = await run_id_of(client, counter.instance_id)
        await counter.resume()
        await eventually(lambda: len(job.events) == 31)
        await eventually(lambda: went_on(client, counter.instance_id, first))
        assert job.events == ["first", *(f"{number:<10}" for number in range(30))]
        assert await counter.state() == 31
        await counter.terminate()


async def test_a_backlog_of_small_events_with_long_ids_does_not_wedge_an_instance(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With the last batch it is to continue as new, with more than the server takes in one payload.
    monkeypatch.setattr(carry, "MAX_LETTERS", 16)
    async with running_worker(client, queue, Counter()) as jobs:
        counter = jobs.task(Counter, new_key())
        await counter.send("first")
        await until_settled(counter)
        await counter.pause()
        raw = client.get_workflow_handle(counter.instance_id)
        for batch in range(15):
            events = [{"data": "x", "id": f"{batch}-{n:0>290}"} for n in range(500)]
            await raw.signal("send_batch", {"events": events})
        assert (await until_status(counter, "paused")).event_count == 7_500
        await counter.terminate()
        assert (await result_of(client, counter.instance_id))["discardedEvents"] == 7_500


@pytest.mark.usefixtures("short_histories")
async def test_tracking_events_are_numbered_without_a_gap_over_continue_as_new(
    client: Client, queue: str
) -> None:
    sink = MemorySink()
    async with running_worker(client, queue, Counter(), tracking=Tracking(sink)) as jobs:
        counter = jobs.task(Counter, new_key())
        for number in range(30):
            await counter.send(str(number))
        await eventually(lambda: _ran(counter, 30))
        await counter.terminate()
        await result_of(client, counter.instance_id)
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    unique = {event["eventId"]: event for event in sink.events}
    assert [e["sequence"] for e in unique.values()] == list(range(1, 33))
    assert len({event["executionId"] for event in unique.values()}) == 1
    assert [e["type"] for e in unique.values()].count("job.executed") == 30


@pytest.mark.usefixtures("short_histories")
async def test_events_that_reach_an_ending_instance_open_its_next_life(
    client: Client, queue: str
) -> None:
    class Closing(Counter):
        async def on_event(self, run: TaskRun[int], event: str) -> int:
            if run.event_count == 3:
                run.terminate("three are enough")
            return await super().on_event(run, event)

    job = Closing()
    async with running_worker(client, queue, job) as jobs:
        counter = jobs.task(Closing, new_key())
        await asyncio.gather(*(counter.send(str(number)) for number in range(60)))
        await eventually(lambda: len(job.events) == 60)
        assert sorted(job.events) == sorted(str(number) for number in range(60))
        assert [run.event_count for run in job.runs] == [1, 2, 3] * 20
        assert [run.is_first_event for run in job.runs] == [True, False, False] * 20


async def test_a_large_backlog_behind_an_end_opens_the_next_life(
    client: Client, queue: str
) -> None:
    class Closing(Counter):
        async def on_event(self, run: TaskRun[int], event: str) -> int:
            if event.startswith("close"):
                run.terminate("closed")
            return await super().on_event(run, event)

    sink = MemorySink()
    job = Closing()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        counter = jobs.task(Closing, new_key())
        await counter.send("open")
        await until_settled(counter)
        await counter.pause()
        await counter.send("close")
        for number in range(30):
            await counter.send(f"{number:<10}" + "x" * 100_000)
        await counter.resume()
        await eventually(lambda: len(job.events) == 32)
        assert job.events == ["open", "close", *(f"{number:<10}" for number in range(30))]
        assert [run.event_count for run in job.runs] == [1, 2, *range(1, 31)]
        assert (await until_settled(counter)).run_count == 30
        assert await counter.state() == 30
        await counter.terminate("done")
        assert (await result_of(client, counter.instance_id))["reason"] == "done"
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    lives = [e["type"] for e in sink.events if e["type"] in ("job.started", "job.terminated")]
    assert lives == ["job.started", "job.terminated"] * 2


async def test_more_signals_than_the_server_takes_are_busy_and_none_accepted_is_lost(
    queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_PATIENCE", 0.5)
    job = Counter()
    limit = {"history.maximumSignalsPerExecution": "20"}
    async with EmbeddedServer(ui=False, config=limit) as own:
        client = await Client.connect(own.target)
        async with running_worker(client, queue, job) as jobs:
            counter = jobs.task(Counter, new_key())
            await counter.send("0")
            await until_settled(counter)
            await counter.pause()
            accepted, refusal = await _send_until_refused(counter)
            assert 15 <= accepted < 20
            assert "nothing accepted is lost" in str(refusal)
            # It still hears what it is told.
            assert await counter.resume()
            await eventually(lambda: len(job.events) == accepted + 1)
            assert job.events == [str(number) for number in range(accepted + 1)]


async def test_signals_refused_during_one_long_attempt_cost_nothing_accepted_and_it_still_ends(
    queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_PATIENCE", 0.5)
    limit = {"history.maximumSignalsPerExecution": "20"}

    class Long(Counter):
        heartbeat_timeout = timedelta(seconds=2)

        async def on_event(self, run: TaskRun[int], event: str) -> int:
            await super().on_event(run, event)
            if event == "long":
                await hold.wait()
            return run.state

    hold, job = asyncio.Event(), Long()
    async with EmbeddedServer(ui=False, config=limit) as own:
        client = await Client.connect(own.target)
        async with running_worker(client, queue, job) as jobs:
            for ends in (False, True):
                hold.clear()
                job.events.clear()
                counter = jobs.task(Long, new_key())
                await counter.send("long")
                await eventually(lambda: job.events == ["long"])
                accepted, _ = await _send_until_refused(counter)
                assert (await status_of(counter)).event_count == accepted + 1
                if ends:
                    # A signal is refused; the update that follows it is not.
                    assert await counter.terminate("enough")
                    result = await result_of(client, counter.instance_id)
                    assert (result["reason"], result["discardedEvents"]) == ("enough", accepted + 1)
                else:
                    hold.set()
                    await eventually(lambda: len(job.events) == accepted + 1)  # noqa: B023
                    assert job.events == ["long", *(str(n) for n in range(1, accepted + 1))]


async def _send_until_refused(counter: TaskHandle[str, int, int]) -> tuple[int, Busy]:
    for number in count(1):
        try:
            await counter.send(str(number))
        except Busy as refusal:
            return number - 1, refusal
    raise AssertionError("count never ends")


async def _ran(handle: TaskHandle[str, int, int], count: int) -> bool:
    return (await status_of(handle)).run_count >= count
