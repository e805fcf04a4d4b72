"""Histories lead to the same commands again, whatever changed in the user's code and settings."""

import pytest
from temporalio.client import WorkflowHistory

from durable_jobs import JobsPlugin
from durable_jobs.tracking import MemorySink, Tracking
from tests.histories.jobs import changed_jobs, jobs
from tests.histories.record import load
from tests.lives import assert_replays

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
    assert types == {"ContinuousJob", "DebounceJob", "TaskJob", "TrackingDelivery"}
    assert {
        "activity_task_completed_event_attributes",
        "activity_task_failed_event_attributes",
        "child_workflow_execution_started_event_attributes",
        "marker_recorded_event_attributes",
        "timer_fired_event_attributes",
        "workflow_execution_continued_as_new_event_attributes",
        "workflow_execution_signaled_event_attributes",
        "workflow_execution_update_completed_event_attributes",
    } <= kinds


@pytest.mark.parametrize("change", changed_jobs())
@pytest.mark.parametrize("tracking", TRACKINGS)
async def test_kept_histories_replay_after_a_change_of(change: str, tracking: str) -> None:
    await assert_replays(KEPT, JobsPlugin(changed_jobs()[change], TRACKINGS[tracking]))
