"""What `reconcile` makes of instances that ended early, oddly or unreadably."""

import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_jobs import JobClient
from durable_jobs.activities.reconcile import Reconciler
from durable_jobs.handles.base import Handle as JobHandle
from durable_jobs.names import RECONCILE_WORKFLOW
from durable_jobs.protocol import Reconciled
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import result_of, running_worker
from tests.support.lives import TERMINAL, Event, specific, terminated, tracked_worker
from tests.support.reconciling import DAY, IDENTITY, Later, asked, command, reconcile, recorded
from tests.support.scrambled import ENCRYPTED
from tests.tracking.jobs import Basket, Beat, Handle, Item, Rest, all_jobs


async def carried_by(client: Client, instance_id: str) -> Any:
    """The start argument of the instance's run that was continued as new first."""
    found = client.list_workflows(f"WorkflowId = '{instance_id}'")
    runs = sorted([run async for run in found], key=lambda run: run.start_time)
    for run in runs:
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        last = history.events[-1].workflow_execution_continued_as_new_event_attributes
        if last.new_execution_run_id:
            return json.loads(last.input.payloads[0].data)
    raise AssertionError(f"{instance_id} did not continue as new: {len(runs)} runs")


async def ended_unseen(
    client: Client, queue: str, handle: JobHandle[Any], given: Any, *events: Item
) -> None:
    """Start a run of an instance that nobody works on, add to it, and end it from outside."""
    workflow_type = type(handle).__name__.removesuffix("Handle") + "Job"
    running = await client.start_workflow(
        workflow_type, given, id=handle.instance_id, task_queue=queue
    )
    for event in events:
        await running.signal("add", event.model_dump())
    await running.terminate(reason="unseen")


def sequence_of(carried: Any) -> int:
    """The number of the last event that a run emitted before it continued as new."""
    outbox = carried["carry"]["outbox"]
    return outbox["settled"] + len(outbox["events"])


async def test_a_run_that_ended_before_its_first_task_speaks_for_the_life_it_carried(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 30)
    async with tracked_worker(client, queue, all_jobs()) as worker:
        beat = worker.jobs.continuous(Beat, queue)
        await beat.start(Basket(total=9))
        await worker.until(beat.instance_id, "job.terminated")
        await result_of(client, beat.instance_id)
        carried = await carried_by(client, beat.instance_id)
    await ended_unseen(client, queue, beat, carried)
    runs, sequence = carried["carry"]["machine"]["life"]["run_count"], sequence_of(carried)
    assert runs > 1
    async with tracked_worker(client, queue, all_jobs()) as worker:
        assert (await reconcile(client, queue)).delivered == [beat.instance_id]
        events = await eventually(lambda: worker.sent(beat.instance_id))
        # Those before it, if any, are what the run before had not delivered.
        assert events[-1]["sequence"] == sequence + 1
        assert events[-1]["executionId"] == carried["carry"]["outbox"]["execution_id"]
        assert specific(events[-1]) == terminated("unseen", runs)


async def test_what_a_run_that_ended_before_its_first_task_carried_and_was_sent_is_counted(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 12)
    later = JobClient(client, task_queue=queue).debounce(Later, queue)
    async with tracked_worker(client, queue, [Later()]):

        async def continued() -> bool:
            await later.add(Item())
            description = await client.get_workflow_handle(later.instance_id).describe()
            return description.raw_description.workflow_execution_info.first_run_id != (
                description.run_id
            )

        await eventually(continued)
        carried = await carried_by(client, later.instance_id)
        await later.flush()
        await result_of(client, later.instance_id)
    waited = carried["carry"]["machine"]["waiting"]
    assert waited > 1
    await ended_unseen(client, queue, later, carried, Item(), Item())
    async with tracked_worker(client, queue, [Later()]) as worker:
        await reconcile(client, queue)
        events = await eventually(lambda: worker.sent(later.instance_id))
    assert events[-1]["discardedEvents"] == waited + 2


async def test_a_fresh_life_that_was_ended_from_outside_is_told_after_the_one_before(
    client: Client, queue: str
) -> None:
    later = JobClient(client, task_queue=queue).debounce(Later, queue)
    # All in the first workflow task: what came after the end opens a fresh life.
    await later.add(Item())
    await client.get_workflow_handle(later.instance_id).signal("terminate")
    await later.add(Item())
    async with tracked_worker(client, queue, [Later()]) as worker:
        await worker.until(later.instance_id, "job.terminated", "debounce.started")
        await asked(client, later.instance_id)
        await client.get_workflow_handle(later.instance_id).terminate(reason="outside")
        await reconcile(client, queue)
        *_, end = await worker.until(later.instance_id, "debounce.started", TERMINAL)
    assert end["sequence"] == 4
    assert specific(end) == terminated("outside", 0, 1)


async def unseen(client: Client, queue: str, *signals: tuple[str, Any]) -> list[Event]:
    """What is told of a debounce that took these signals and ended before any worker saw it."""
    instance_id = f"debounce:later:{queue}"
    handle = await client.start_workflow(
        "DebounceJob", {"job": "later", "key": queue}, id=instance_id, task_queue=queue
    )
    for name, argument in signals:
        await handle.signal(name, argument)
    await handle.terminate(reason="unseen")
    await reconcile(client, queue)
    async with tracked_worker(client, queue, [Later()]) as worker:
        return await worker.life(instance_id, "job.terminated")


async def test_a_debounce_that_never_had_an_event_opened_no_window(
    client: Client, queue: str
) -> None:
    assert await unseen(client, queue, ("flush", None)) == [terminated("unseen", 0)]


async def test_events_of_any_signal_count_and_what_is_no_event_does_not(
    client: Client, queue: str
) -> None:
    life = await unseen(
        client,
        queue,
        ("add", {"n": 1}),
        ("add_batch", {"events": [{"data": {"n": 1}}, {"data": {"n": 2}}]}),
        ("add_batch", {"events": 5}),
        ("add_batch", "events"),
        ("pause", None),
    )
    assert life == [{"type": "debounce.started"}, terminated("unseen", 0, 3)]


async def test_what_is_encrypted_is_read_with_the_clients_codec(client: Client, queue: str) -> None:
    given = {**client.config(), "data_converter": ENCRYPTED}
    encrypted = Client(**given)
    assert await unseen(encrypted, queue, ("add_batch", {"events": [{"data": {"n": 1}}]})) == [
        {"type": "debounce.started"},
        terminated("unseen", 0, 1),
    ]


@pytest.mark.parametrize("workflow_id", ["mine", "continuous:rest", "task:rest:a"])
async def test_a_workflow_whose_id_names_no_instance_has_nothing_to_say(
    client: Client, queue: str, workflow_id: str
) -> None:
    handle = await client.start_workflow(
        "ContinuousJob", {"job": "rest", "key": "a"}, id=workflow_id, task_queue=queue
    )
    await handle.terminate()
    assert await reconcile(client, queue) == Reconciled(nothing=1)


async def test_a_task_queue_may_have_an_apostrophe_in_its_name(client: Client, queue: str) -> None:
    odd = f"{queue}'s"
    handle = await client.start_workflow(
        "ContinuousJob", {"job": "rest", "key": "a"}, id=queue, task_queue=odd
    )
    await handle.terminate()

    async def found() -> bool:
        return await Reconciler(client, odd, IDENTITY).reconcile(DAY) == Reconciled(nothing=1)

    await eventually(found)


async def test_only_what_ended_of_late_is_looked_at(client: Client, queue: str) -> None:
    task = JobClient(client, task_queue=queue).task(Handle, queue)
    await task.send(Item())
    await client.get_workflow_handle(task.instance_id).terminate()
    assert (await reconcile(client, queue)).delivered == [task.instance_id]
    assert await Reconciler(client, queue, IDENTITY).reconcile(timedelta()) == Reconciled()


@workflow.defn(name="ContinuousJob", sandboxed=False)
class Foreign:
    """A workflow of the same name that is not the library's."""

    @workflow.run
    async def run(self, _: Any) -> None:
        await workflow.wait_condition(lambda: False)


async def test_an_instance_that_its_worker_cannot_read_fails_the_command_and_is_named(
    client: Client, queue: str
) -> None:
    rest = JobClient(client, task_queue=queue).continuous(Rest, queue)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Foreign],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        raw = await client.start_workflow(
            "ContinuousJob",
            {"job": "rest", "key": queue},
            id=rest.instance_id,
            task_queue=queue,
        )
        await recorded(client, rest.instance_id)
        await raw.terminate()
        found = await reconcile(client, queue)
        assert "its worker cannot read it" in found.failed[rest.instance_id]
        with command(client, queue) as process:
            assert await process.exit_code() == 1
            assert f"{rest.instance_id}: its worker cannot read it" in process.text
            assert "1 failed" in process.text


async def test_a_worker_without_tracking_says_that_it_cannot_reconcile(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Rest()):
        with pytest.raises(WorkflowFailureError) as failed:
            await client.execute_workflow(
                RECONCILE_WORKFLOW, {"since": 60}, id=f"reconcile-{queue}", task_queue=queue
            )
    assert "DURABLE_JOBS_TRACKING_URL" in str(failed.value.cause.__cause__)


async def test_a_schedule_that_an_operator_paused_stays_paused_when_it_is_changed(
    client: Client, queue: str
) -> None:
    async def every(span: str) -> None:
        with command(client, queue, "--every", span) as process:
            assert await process.exit_code() == 0, process.text

    await every("1h")
    schedule = client.get_schedule_handle(f"durable-jobs-reconcile:{queue}")
    try:
        await schedule.pause(note="for the weekend")
        await every("2h")
        description = await schedule.describe()
        assert description.schedule.state.paused
        assert description.schedule.state.note == "for the weekend"
        [interval] = description.schedule.spec.intervals
        assert interval.every == timedelta(hours=2)
    finally:
        await schedule.delete()
