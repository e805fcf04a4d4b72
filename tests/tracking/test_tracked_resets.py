"""After a reset an instance goes on as another execution, with events of its own."""

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousRun
from tests.support import eventually
from tests.support.lives import WINDOW, Event, Tracked, kinds_of, reset_to_task, tracked_worker
from tests.tracking.jobs import Basket, Gather, Handle, Item, Rest


class Keyed(Rest):
    """Keeps the idempotency keys of its runs."""

    name = "keyed"

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        self.seen.append(run.idempotency_key)
        run.state.total += 1


async def test_a_reset_begins_another_execution_with_its_own_keys_and_sequence(
    client: Client, queue: str
) -> None:
    job = Keyed()
    async with tracked_worker(client, queue, [job]) as worker:
        poll = worker.jobs.continuous(Keyed, queue)
        await poll.start()
        before = await worker.until(poll.instance_id, "job.started")
        await poll.trigger()
        before = await worker.until(poll.instance_id, "job.executed")
        new_run = await reset_to_task(worker, poll.instance_id, 1)
        await eventually(lambda: len(job.seen) == 2)
        await poll.terminate()
        after = await eventually(lambda: execution(worker, new_run, "job.terminated"))
    assert len(set(job.seen)) == 2
    assert kinds_of(after) == ["job.executed", "job.terminated"]
    assert [event["sequence"] for event in after] == [1, 2]
    assert {event["executionId"] for event in before} != {new_run}


def execution(worker: Tracked, run_id: str, last: str) -> list[Event]:
    """The events of one execution, once the last one is there."""
    events = [event for event in worker.sink.events if event["executionId"] == run_id]
    return events if last in kinds_of(events) else []


def check_execution(worker: Tracked, events: list[Event]) -> None:
    """It lacks none, and no other has one with the same id."""
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    contents = {event["eventId"]: event for event in events}
    assert len(contents) == len(events)
    sent = worker.sink.events
    assert all(contents.get(event["eventId"], event) == event for event in sent)


@pytest.mark.parametrize("place", [0, 1, -1])
async def test_a_task_that_is_reset_tells_all_that_follows_with_ids_of_its_own(
    worker: Tracked, place: int
) -> None:
    task = worker.jobs.task(Handle, f"reset-{place}")
    for _ in range(3):
        await task.ask(Item())
    await worker.until(task.instance_id, "job.executed")
    run = await reset_to_task(worker, task.instance_id, place)
    await task.send(Item(word="end"))
    check_execution(worker, await eventually(lambda: execution(worker, run, "job.terminated")))


@pytest.mark.parametrize("place", [0, 1, -2])
async def test_a_window_that_is_reset_once_it_has_ended_is_told_of_again(
    worker: Tracked, place: int
) -> None:
    window = worker.jobs.debounce(Gather, f"reset-{place}")
    await window.add(Item())
    await worker.handle(window.instance_id).result()
    run = await reset_to_task(worker, window.instance_id, place)
    events = await eventually(lambda: execution(worker, run, WINDOW[-1]))
    check_execution(worker, events)
    assert place or kinds_of(events) == WINDOW


async def test_a_window_that_is_reset_after_its_last_flush_has_nothing_more_to_tell(
    worker: Tracked,
) -> None:
    window = worker.jobs.debounce(Gather, "reset-last")
    await window.add(Item())
    await worker.handle(window.instance_id).result()
    run = await reset_to_task(worker, window.instance_id, -1)
    result = await worker.client.get_workflow_handle(window.instance_id, run_id=run).result()
    assert result["status"] == "completed"
    assert kinds_of(worker.sent(window.instance_id)) == WINDOW
