"""The tracking events of whole lives of a task, field by field."""

from tests.support import eventually
from tests.support.lives import (
    EXHAUSTED,
    Tracked,
    executed,
    failed,
    failed_for_good,
    paused,
    scheduled,
    terminated,
)
from tests.tracking.jobs import (
    Careful,
    Handle,
    HandleOrEnd,
    HandleOrPause,
    Item,
)


async def test_a_task_is_tracked_through_events_alarms_and_its_end(worker: Tracked) -> None:
    task = worker.jobs.task(Handle, "normal")
    await task.send(Item(word="alarm"))
    await worker.until(task.instance_id, "task.scheduled", "job.executed")
    assert await task.ask(Item(word="end")) == 2
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        *[executed(1, "on_event"), scheduled("event")],
        *[executed(2), scheduled("execute"), executed(3)],
        *[executed(4, "on_event"), terminated("closed", 4)],
    ]


async def test_alarms_of_the_optional_handlers_name_what_set_them(worker: Tracked) -> None:
    task = worker.jobs.task(Careful, "alarms")
    await task.send(Item(fail=3))
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        *failed_for_good(1, "on_event"),
        *[executed(2, "on_error"), scheduled("error"), executed(3)],
        *[executed(4, "on_idle"), scheduled("idle"), executed(5)],
        terminated("twice", 5, discarded=1),
    ]


async def test_each_failed_attempt_of_a_handler_is_tracked_with_its_error(
    worker: Tracked,
) -> None:
    task = worker.jobs.task(Handle, "retried")
    assert await task.ask(Item(fail=2, word="end")) == 1
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        failed(1, 1, again=True, handler="on_event"),
        failed(1, 2, again=True, handler="on_event"),
        executed(1, "on_event", attempt=3),
        terminated("closed", 1),
    ]


async def test_a_failed_event_that_is_set_aside_is_followed_by_the_next(worker: Tracked) -> None:
    task = worker.jobs.task(Handle, "set-aside")
    await task.send(Item(fail=3))
    await task.send(Item(word="end"))
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        *failed_for_good(1, "on_event"),
        executed(2, "on_event"),
        terminated("closed", 2, discarded=1),
    ]


async def test_a_failed_event_that_pauses_its_task_is_tracked_until_the_end(
    worker: Tracked,
) -> None:
    task = worker.jobs.task(HandleOrPause, "exhausted")
    await task.send(Item(fail=3))
    await worker.until(task.instance_id, "job.paused")
    await task.send(Item())
    await task.terminate("given up")
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        *failed_for_good(1, "on_event"),
        paused("exhausted"),
        terminated("given up", 1, discarded=2),
    ]


async def test_a_failed_event_can_end_its_task(worker: Tracked) -> None:
    task = worker.jobs.task(HandleOrEnd, "exhausted")
    await task.send(Item(fail=3))
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        *failed_for_good(1, "on_event"),
        terminated(EXHAUSTED, 1, discarded=1),
    ]


async def test_an_event_that_does_not_fit_leaves_no_trace_of_a_run(worker: Tracked) -> None:
    task = worker.jobs.task(Handle, "unfit")
    await task.send(Item())
    await worker.handle(task.instance_id).signal("send", {"n": "many"})
    await eventually(lambda: rejected_events(worker, task.instance_id))
    await task.send(Item(word="end"))
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        executed(1, "on_event"),
        executed(2, "on_event"),
        terminated("closed", 2),
    ]


async def rejected_events(worker: Tracked, instance_id: str) -> int:
    return (await worker.handle(instance_id).query("status"))["rejectedEvents"]
