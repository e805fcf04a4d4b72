"""Failed events that were set aside: how they are kept, and how they come back."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowUpdateFailedError

from durable_jobs import TaskRun
from durable_jobs.names import OUTBOX_QUERY
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows.driver import Driver
from durable_jobs.workflows.machines import queue as queues
from tests.support import eventually
from tests.support.jobs import (
    new_key,
    result_of,
    running_worker,
    status_of,
    until_settled,
    until_status,
)
from tests.task.jobs import Sieve


async def test_redrive_queues_all_events_set_aside_again_in_their_order(
    client: Client, queue: str
) -> None:
    job = Sieve()
    async with running_worker(client, queue, job) as jobs:
        sieve = jobs.task(Sieve, new_key())
        assert await sieve.redrive() == 0
        for event in ("bad 1", "good", "bad 2"):
            await sieve.send(event)
        assert len((await until_settled(sieve)).failed_events) == 2
        job.open = True
        assert await sieve.redrive() == 2
        assert not (await until_settled(sieve)).failed_events
        assert await sieve.state() == ["good", "bad 1", "bad 2"]
        assert await sieve.redrive() == 0
        await sieve.terminate()
    assert len(set(job.keys)) == 5


async def test_redrive_takes_one_event_by_the_id_it_is_listed_with(
    client: Client, queue: str
) -> None:
    job = Sieve()
    async with running_worker(client, queue, job) as jobs:
        sieve = jobs.task(Sieve, new_key())
        await sieve.send("bad 1")
        await sieve.send("bad 2", id="mine")
        first, second = (await until_settled(sieve)).failed_events
        assert (second["id"], second["error"]) == ("mine", "NonRetryable: no bad 2")
        assert first["id"] == job.keys[0]
        assert first["event"] == {"data": "bad 1", "id": None}
        job.open = True
        assert await sieve.redrive("no such") == 0
        assert await sieve.redrive("mine") == 1
        [left] = (await until_settled(sieve)).failed_events
        assert left == first
        assert await client.get_workflow_handle(sieve.instance_id).execute_update(
            "redrive", first["id"]
        ) == {"redrivenEvents": 1}
        await until_settled(sieve)
        assert await sieve.state() == ["bad 2", "bad 1"]
        await sieve.terminate()


async def test_an_event_that_fails_again_is_set_aside_again(client: Client, queue: str) -> None:
    job = Sieve()
    async with running_worker(client, queue, job) as jobs:
        sieve = jobs.task(Sieve, new_key())
        await sieve.send("bad", id="event")
        await until_settled(sieve)
        raw = client.get_workflow_handle(sieve.instance_id)
        await raw.signal("redrive", "event")
        await eventually(lambda: len(job.keys) == 2)
        [failed] = (await until_settled(sieve)).failed_events
        assert failed["id"] == "event"
        await raw.signal("redrive", args=[1, 2])
        with pytest.raises(WorkflowUpdateFailedError):
            await raw.execute_update("redrive", 7)
        assert (await status_of(sieve)).rejected_events == 1
        await sieve.terminate()
        # One that is not over yet would still take the event, for a fresh life.
        await result_of(client, sieve.instance_id)
        assert await sieve.redrive() == 0


async def test_failed_events_that_had_to_go_for_later_ones_are_counted_and_logged(
    client: Client,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(queues, "KEPT_FAILED", 3)
    sink = MemorySink()
    async with running_worker(client, queue, Sieve(), tracking=Tracking(sink)) as jobs:
        sieve = jobs.task(Sieve, new_key())
        with caplog.at_level(logging.WARNING):
            for number in range(5):
                await sieve.send(f"bad {number}")
            status = await eventually(lambda: _crowded(sieve))
        assert [entry["event"]["data"] for entry in status.failed_events] == [
            *["bad 2", "bad 3", "bad 4"]
        ]
        await sieve.terminate("done")
        assert (await result_of(client, sieve.instance_id))["discardedEvents"] == 5
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    assert sink.events[-1]["discardedEvents"] == 5
    assert "too many are set aside" in caplog.text


async def test_events_set_aside_are_discarded_with_the_instance_that_a_caller_ends(
    client: Client, queue: str
) -> None:
    sink = MemorySink()
    async with running_worker(client, queue, Sieve(), tracking=Tracking(sink)) as jobs:
        sieve = jobs.task(Sieve, new_key())
        for event in ("bad 1", "good", "bad 2"):
            await sieve.send(event)
        assert len((await until_settled(sieve)).failed_events) == 2
        raw = client.get_workflow_handle(sieve.instance_id)
        assert (await raw.query(OUTBOX_QUERY))["discarded"] == 2
        await sieve.terminate("done")
        assert (await result_of(client, sieve.instance_id))["discardedEvents"] == 2
        assert (await raw.query(OUTBOX_QUERY))["discarded"] == 2
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    assert sink.events[-1]["discardedEvents"] == 2


async def test_events_set_aside_are_discarded_with_the_instance_that_a_handler_ends(
    client: Client, queue: str
) -> None:
    class Closing(Sieve):
        async def on_event(self, run: TaskRun[list[str]], event: str) -> int:
            if event == "close":
                run.terminate("closed")
            return await super().on_event(run, event)

    sink = MemorySink()
    async with running_worker(client, queue, Closing(), tracking=Tracking(sink)) as jobs:
        sieve = jobs.task(Closing, new_key())
        for event in ("bad 1", "bad 2", "close"):
            await sieve.send(event)
        result = await result_of(client, sieve.instance_id)
        assert (result["reason"], result["discardedEvents"]) == ("closed", 2)
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    assert sink.events[-1]["discardedEvents"] == 2
    assert [event["sequence"] for event in sink.events] == list(range(1, len(sink.events) + 1))


async def _crowded(sieve: Any) -> Any:
    status = await status_of(sieve)
    return status if status.discarded_events == 2 and status.event_count == 0 else None


# -- idle_timeout -----------------------------------------------------------------------------


class Brief(Sieve):
    """Ends soon after its last event."""

    name = "brief"
    idle_timeout = timedelta(milliseconds=300)


async def test_an_instance_with_nothing_to_do_ends_after_its_idle_timeout(
    client: Client, queue: str
) -> None:
    job, sink = Brief(), MemorySink()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        brief = jobs.task(Brief, new_key())
        await brief.send("one")
        ended = await result_of(client, brief.instance_id)
        assert ended == {
            "status": "completed",
            "reason": "idle for 0:00:00.300000",
            "runCount": 1,
            "discardedEvents": 0,
        }
        assert (await status_of(brief)).status == "completed"
        assert await brief.state() == ["one"]
        assert await brief.ask("two") == 1
        assert await brief.state() == ["two"]
        await result_of(client, brief.instance_id)
        kinds = ["job.started", "job.executed", "job.terminated"] * 2
        await eventually(lambda: [event["type"] for event in sink.events] == kinds)


async def test_an_alarm_a_pause_and_failed_events_keep_an_instance_from_ending(
    client: Client, queue: str
) -> None:
    class Keeping(Brief):
        async def on_event(self, run: TaskRun[list[str]], event: str) -> int:
            if event == "alarm":
                run.schedule(timedelta(milliseconds=700))
            return await super().on_event(run, event)

        async def execute(self, run: TaskRun[list[str]]) -> None:
            run.state.append("rang")

    job = Keeping()
    async with running_worker(client, queue, job) as jobs:
        alarmed, paused, failed = (jobs.task(Keeping, new_key()) for _ in range(3))
        await alarmed.send("alarm")
        await paused.send("one")
        await until_settled(paused)
        await paused.pause()
        await failed.send("bad")
        await result_of(client, alarmed.instance_id)
        assert await alarmed.state() == ["alarm", "rang"]
        assert (await status_of(paused)).status == "paused"
        assert len((await status_of(failed)).failed_events) == 1
        job.open = True
        await paused.resume()
        await failed.redrive()
        for instance, state in ((paused, ["one"]), (failed, ["bad"])):
            assert (await result_of(client, instance.instance_id))["status"] == "completed"
            assert await instance.state() == state


@pytest.mark.parametrize(("job", "word"), [(Brief, "completed"), (Sieve, "terminated")])
async def test_an_ask_that_comes_while_an_instance_ends_is_answered_by_a_fresh_one(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch, job: type[Sieve], word: str
) -> None:
    finish: Any = Driver._finish  # pyright: ignore[reportPrivateUsage]

    async def once_asked(self: Driver) -> bool:
        """Lets the first life end no sooner than an update is in its hands."""
        if self.machine.ending.status == word:
            await workflow.wait_condition(lambda: bool(self.mailbox))
        return await finish(self)

    monkeypatch.setattr(Driver, "_finish", once_asked)
    async with running_worker(client, queue, job()) as jobs:
        task = jobs.task(job, new_key())
        assert await task.ask("one") == 1
        if job is Sieve:
            await task.terminate()
        await until_status(task, word)
        assert await task.ask("two") == 1
        assert await task.state() == ["two"]
        monkeypatch.undo()
        await task.terminate()


async def test_events_that_come_as_an_instance_ends_open_a_fresh_one(
    client: Client, queue: str
) -> None:
    class Briefest(Brief):
        idle_timeout = timedelta(milliseconds=1)

    job = Briefest()
    async with running_worker(client, queue, job) as jobs:
        brief = jobs.task(Briefest, new_key())
        for number in range(60):
            await brief.send(str(number))
        await eventually(lambda: len(job.keys) == 60)
        assert len(set(job.keys)) == 60
        await result_of(client, brief.instance_id)
