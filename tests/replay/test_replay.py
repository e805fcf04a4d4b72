"""Histories lead to the same commands again, whatever changed in the user's code and settings."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Worker

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.kinds import KINDS
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import carry
from tests.histories.jobs import changed_jobs, jobs
from tests.histories.record import Recorder, load
from tests.support import eventually
from tests.support.commotion import Commotion
from tests.support.lives import assert_replays, histories_of, tracked_worker
from tests.tracking.jobs import Gather, Item, all_jobs

KEPT = load()
AS_RECORDED = Tracking(MemorySink(), env="recorded")
TRACKINGS = {
    "tracking as it was": AS_RECORDED,
    "tracking off": None,
    "another env": Tracking(MemorySink(), env="another", service_key="another"),
}


@pytest.mark.parametrize("kept", KEPT, ids=[f"{h.workflow_id}-{n}" for n, h in enumerate(KEPT)])
async def test_a_kept_history_replays(kept: WorkflowHistory) -> None:
    await assert_replays([kept], JobsPlugin(jobs(), AS_RECORDED))


def test_the_kept_histories_are_rich() -> None:
    kinds = {event.WhichOneof("attributes") for kept in KEPT for event in kept.events}
    types = {
        kept.events[0].workflow_execution_started_event_attributes.workflow_type.name
        for kept in KEPT
    }
    ours = {kind.workflow for kind in KINDS.values()}
    assert types == ours | {"TrackingDelivery"}
    assert {
        "activity_task_completed_event_attributes",
        "activity_task_failed_event_attributes",
        "timer_fired_event_attributes",
        "workflow_execution_continued_as_new_event_attributes",
        "workflow_execution_signaled_event_attributes",
        "workflow_execution_update_completed_event_attributes",
    } <= kinds


@pytest.mark.parametrize("change", changed_jobs())
@pytest.mark.parametrize("tracking", TRACKINGS)
async def test_kept_histories_replay_after_a_change_of(change: str, tracking: str) -> None:
    await assert_replays(KEPT, JobsPlugin(changed_jobs()[change], TRACKINGS[tracking]))


async def test_fresh_histories_replay_after_any_change(client: Client, queue: str) -> None:
    async with Worker(client, task_queue=queue, plugins=[JobsPlugin(jobs(), AS_RECORDED)]):
        await Recorder(client, queue, queue).all()
    fresh = await histories_of(client, queue)
    assert len(fresh) > 3
    for changed in [jobs(), *changed_jobs().values()]:
        for tracking in TRACKINGS.values():
            await assert_replays(fresh, JobsPlugin(changed, tracking))


@pytest.mark.parametrize(("cached", "long"), [(1000, 4_000), (4, 40), (1000, 15)])
async def test_whatever_callers_do_at_once_no_instance_gets_stuck_and_all_replay(
    client: Client,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
    cached: int,
    long: int,
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", long)
    options = {"max_cached_workflows": cached}
    async with tracked_worker(client, queue, all_jobs(), **options) as worker:
        await Commotion(worker, queue).last(2, callers=8)
    assert refused_tasks(await histories_of(client, queue)) <= {
        "UnhandledCommand",
        "UnhandledUpdate",
    }
    check_sequences(worker.sink.events)


class GatherSlowly(Gather):
    """Gathers for long enough to take the worker away meanwhile."""

    name = "gather-slowly"
    flush_after = timedelta(milliseconds=400)


async def test_a_query_that_waited_for_a_worker_spoils_nothing_for_the_news_that_came_after_it(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    digests = [jobs.debounce(GatherSlowly, f"{queue}-{number}") for number in range(5)]
    async with Worker(client, task_queue=queue, plugins=[JobsPlugin([GatherSlowly()])]):
        await asyncio.gather(*(digest.add(Item()) for digest in digests))
        await asyncio.gather(*(digest.status() for digest in digests))
    # The server hands a query on at once where nothing is new: now it waits for a worker.
    asked = [asyncio.create_task(digest.status()) for digest in digests]
    for digest in digests:
        await eventually(lambda: has_event(client, digest.instance_id, "timer_fired"))  # noqa: B023
    async with tracked_worker(client, queue, [GatherSlowly()]):
        assert all(await asyncio.gather(*asked))
        for digest in digests:
            ended = await client.get_workflow_handle(digest.instance_id).result()
            assert ended["runCount"] == 1
    assert refused_tasks(await histories_of(client, queue)) == set()


async def has_event(client: Client, instance_id: str, kind: str) -> bool:
    history = await client.get_workflow_handle(instance_id).fetch_history()
    return any(event.HasField(f"{kind}_event_attributes") for event in history.events)


def refused_tasks(histories: list[WorkflowHistory]) -> set[str]:
    """Why workflow tasks failed. An unhandled one had news while it ended: it is done again."""
    failures = [
        event.workflow_task_failed_event_attributes
        for history in histories
        for event in history.events
        if event.HasField("workflow_task_failed_event_attributes")
    ]
    return {failure.failure.message for failure in failures}


def check_sequences(events: Sequence[Any]) -> None:
    """In each execution 1, 2, 3, ... without a gap, and each number for one event."""
    executions: dict[str, dict[int, set[str]]] = {}
    for event in events:
        numbers = executions.setdefault(event["executionId"], {})
        numbers.setdefault(event["sequence"], set()).add(event["eventId"])
    for numbers in executions.values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
        assert all(len(ids) == 1 for ids in numbers.values())
