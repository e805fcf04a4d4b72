"""How the benchmarks count what Temporal Cloud bills: https://docs.temporal.io/cloud/actions."""

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from benchmarks.history import Cost, actions

STARTED = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
SIGNALED = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
TIMER = HistoryEvent(event_type=EventType.EVENT_TYPE_TIMER_STARTED)
SCHEDULED = HistoryEvent(event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
TASK = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)


def marker(task: int) -> HistoryEvent:
    event = HistoryEvent(event_type=EventType.EVENT_TYPE_MARKER_RECORDED)
    event.marker_recorded_event_attributes.workflow_task_completed_event_id = task
    return event


def activity_started(attempt: int) -> HistoryEvent:
    event = HistoryEvent(event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
    event.activity_task_started_event_attributes.attempt = attempt
    return event


def test_a_signal_with_start_is_one_action_and_a_signal_after_a_start_another() -> None:
    assert actions([STARTED, SIGNALED, TASK]) == 1
    assert actions([STARTED, SIGNALED, TASK, SIGNALED]) == 2
    assert actions([STARTED, TASK, SIGNALED]) == 2


def test_a_timer_and_each_attempt_of_an_activity_are_one_action() -> None:
    assert actions([STARTED, TASK, TIMER, SCHEDULED, activity_started(attempt=3)]) == 1 + 1 + 3


def test_all_markers_of_one_workflow_task_are_one_action() -> None:
    assert actions([STARTED, TASK, marker(4), marker(4), TASK, marker(9)]) == 1 + 2


def test_a_cost_adds_up_over_runs_and_divides_over_what_was_done() -> None:
    cost = Cost()
    cost.add([STARTED, SIGNALED, TASK])
    cost.add([STARTED, SIGNALED, TASK, TIMER, SCHEDULED])
    assert (cost.runs, cost.events, cost.longest, cost.actions) == (2, 8, 5, 4)
    assert cost.each(4) == {"history events": 2.0, "bytes": cost.bytes // 4, "actions": 1.0}
