"""A task instance: one event at a time, in order, with a state."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from durable_jobs import InvalidEvent, JobStatus, TaskJob, TaskRun
from durable_jobs.handles import TaskHandle
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, status_of, until_settled, until_status
from tests.task.jobs import Note, Thread, Triage

# -- events ---------------------------------------------------------------------------------


async def test_the_first_event_opens_the_instance(client: Client, queue: str) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        await triage.send(Note(text="hello"))
        await eventually(lambda: job.runs)
        status = await until_settled(triage)
        assert (status.job_type, status.job_name) == ("task", "triage")
        assert (status.key, status.instance_id) == (triage.key, f"task:triage:{triage.key}")
        assert (status.run_count, status.event_count, status.next_run_at) == (1, 0, None)
        assert await triage.state() == Thread(texts=["hello"])
        await triage.terminate()


async def test_200_events_are_handled_in_the_order_they_were_sent(
    client: Client, queue: str
) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        for number in range(200):
            await triage.send(Note(text=str(number)))
        await eventually(lambda: len(job.runs) == 200)
        await until_settled(triage)
        state = await triage.state()
        await triage.terminate()
    assert state == Thread(texts=[str(number) for number in range(200)])
    assert [run.event_count for run in job.runs] == list(range(1, 201))
    assert len({run.idempotency_key for run in job.runs}) == 200


async def test_events_are_handled_one_at_a_time(client: Client, queue: str) -> None:
    under_way = most = 0

    class Careful(Triage):
        async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1
            return await super().on_event(run, event)

    job = Careful()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Careful, new_key())
        await asyncio.gather(*(triage.send(Note(text=str(n))) for n in range(20)))
        await eventually(lambda: len(job.runs) == 20)
        await triage.terminate()
    assert most == 1


async def test_an_event_that_waits_for_a_busy_handler_is_counted_as_waiting(
    client: Client, queue: str
) -> None:
    go_on = asyncio.Event()

    class Busy(Triage):
        async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
            await go_on.wait()
            return await super().on_event(run, event)

    job = Busy()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Busy, new_key())
        for _ in range(3):
            await triage.send(Note())
        await eventually(lambda: _counts(triage, 3))
        assert (await status_of(triage)).status == "running"
        go_on.set()
        await eventually(lambda: _counts(triage, 0))
        await triage.terminate()


async def test_an_event_with_an_id_that_was_seen_is_dropped(client: Client, queue: str) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        await triage.send(Note(text="one"), id="delivery-1")
        await triage.send(Note(text="again"), id="delivery-1")
        await eventually(lambda: job.runs)
        await triage.send(Note(text="and again"), id="delivery-1")
        await triage.send(Note(text="two"), id="delivery-2")
        await triage.send(Note(text="without an id"))
        await eventually(lambda: len(job.runs) == 3)
        await until_settled(triage)
        assert await triage.state() == Thread(texts=["one", "two", "without an id"])
        await triage.terminate()


async def test_an_event_that_does_not_fit_is_refused_before_anything_is_sent(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Triage()) as jobs:
        triage = jobs.task(Triage, new_key())
        with pytest.raises(InvalidEvent, match="text"):
            await triage.send({"text": 5})  # type: ignore[arg-type]
        with pytest.raises(InvalidEvent, match="text"):
            await triage.ask({"text": 5})  # type: ignore[arg-type]
        assert await triage.status() is None


async def test_an_event_on_the_wire_that_does_not_fit_is_rejected_without_a_run(
    client: Client, queue: str
) -> None:
    idle: list[int] = []

    class Idling(Triage):
        async def on_idle(self, run: TaskRun[Thread]) -> None:
            idle.append(run.run_count)

    job = Idling()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Idling, new_key())
        await triage.send(Note(text="good"))
        await eventually(lambda: idle == [2])
        raw = client.get_workflow_handle(triage.instance_id)
        await raw.signal("send", {"text": ["not", "a", "text"]})
        await eventually(lambda: _rejected(triage, 1))
        await triage.send(Note(text="good too"))
        await eventually(lambda: idle == [2, 4])
        status = await status_of(triage)
        assert (status.run_count, status.rejected_events, status.last_error) == (4, 1, None)
        assert "text" in status.rejections[0].reason
        assert [run.event_count for run in job.runs] == [1, 2]
        assert await triage.state() == Thread(texts=["good", "good too"])
        await triage.terminate()


async def test_an_instance_whose_only_event_was_rejected_answers_and_goes_on(
    client: Client, queue: str
) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        await client.start_workflow(
            "TaskJob",
            {"job": "triage", "key": triage.key},
            id=triage.instance_id,
            task_queue=queue,
            start_signal="send",
            start_signal_args=[17],
        )
        status = await eventually(lambda: _rejected(triage, 1))
        assert (status.status, status.run_count) == ("idle", 0)
        await triage.send(Note(text="fine"))
        await eventually(lambda: job.runs)
        assert job.runs[0].is_first_event
        await triage.terminate()


# -- what a run sees ------------------------------------------------------------------------


async def test_a_run_knows_how_far_its_instance_got(client: Client, queue: str) -> None:
    class Alarmed(Triage):
        async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
            run.schedule(timedelta(hours=1) if event.text == "later" else timedelta())
            return await super().on_event(run, event)

    job = Alarmed()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Alarmed, new_key())
        before = datetime.now(UTC)
        await triage.send(Note(text="now"))
        await eventually(lambda: job.alarms)
        await triage.send(Note(text="later"))
        await triage.send(Note(text="later"))
        await eventually(lambda: len(job.runs) == 3)
        status = await until_status(triage, "scheduled")
        await triage.trigger()
        await eventually(lambda: len(job.alarms) == 2)
        await triage.terminate()
    assert [run.is_first_event for run in job.runs] == [True, False, False]
    assert [run.event_count for run in job.runs] == [1, 2, 3]
    assert [run.execute_count for run in job.runs] == [0, 1, 1]
    assert [(run.event_count, run.execute_count) for run in job.alarms] == [(1, 1), (3, 2)]
    assert not any(run.is_first_event for run in job.alarms)
    assert {run.created_at for run in [*job.runs, *job.alarms]} == {status.started_at}
    assert before - timedelta(seconds=1) < status.started_at < datetime.now(UTC)
    assert [run.run_count for run in [*job.runs, *job.alarms]] == [1, 3, 4, 2, 5]
    assert (job.runs[0].key, job.runs[0].instance_id) == (triage.key, triage.instance_id)


async def test_handlers_may_be_plain_functions(client: Client, queue: str) -> None:
    done: list[str] = []

    class Plain(TaskJob[str, int, str]):
        name = "plain"

        def on_event(self, run: TaskRun[int], event: str) -> str:
            run.state += 1
            run.schedule(timedelta())
            return event.upper()

        def execute(self, run: TaskRun[int]) -> None:
            done.append("execute")

        def on_idle(self, run: TaskRun[int]) -> None:
            done.append("on_idle")

    async with running_worker(client, queue, Plain()) as jobs:
        plain = jobs.task(Plain, new_key())
        assert await plain.ask("hello") == "HELLO"
        await eventually(lambda: done == ["execute", "on_idle"])
        assert await plain.state() == 1
        await plain.terminate()


async def test_the_first_state_comes_from_initial_state_and_its_key(
    client: Client, queue: str
) -> None:
    class Named(Triage):
        def initial_state(self, key: str) -> Thread:
            return Thread(texts=[key])

    async with running_worker(client, queue, Named()) as jobs:
        named = jobs.task(Named, new_key())
        assert await named.ask(Note(text="x")) == 2
        assert await named.state() == Thread(texts=[named.key, "x"])
        await named.terminate()


# -- pause ----------------------------------------------------------------------------------


async def test_a_paused_instance_keeps_its_events_until_resume(client: Client, queue: str) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        await triage.send(Note(text="0"))
        await until_settled(triage)
        await triage.pause()
        for number in range(1, 4):
            await triage.send(Note(text=str(number)))
        status = await eventually(lambda: _counts(triage, 3))
        assert (status.status, len(job.runs)) == ("paused", 1)
        await triage.resume()
        await eventually(lambda: len(job.runs) == 4)
        await until_settled(triage)
        assert await triage.state() == Thread(texts=["0", "1", "2", "3"])
        await triage.terminate()


async def test_trigger_runs_execute_at_once(client: Client, queue: str) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        await triage.send(Note())
        await until_settled(triage)
        await triage.trigger()
        await eventually(lambda: len(job.alarms) == 1)
        await triage.pause()
        await triage.trigger()
        await eventually(lambda: len(job.alarms) == 2)
        assert (await until_status(triage, "paused")).run_count == 3
        await triage.terminate()


async def _counts(triage: TaskHandle[Note, Thread, int], count: int) -> JobStatus | None:
    status = await status_of(triage)
    return status if status.event_count == count else None


async def _rejected(triage: TaskHandle[Note, Thread, int], count: int) -> JobStatus | None:
    status = await status_of(triage)
    return status if status.rejected_events == count else None
