"""Reads what workflows left: history events, bytes, and the actions that Temporal Cloud bills.

The rules of the latter: https://docs.temporal.io/cloud/actions. A signal-with-start is one action,
whether or not it starts. All markers of one workflow task, such as local activities leave, are
one. Heartbeats are billed too, but stand in no history: they are not counted here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

MAX_EVENTS = 10_000

_ACTIONS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 1,
    EventType.EVENT_TYPE_TIMER_STARTED: 1,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: 1,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: 2,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: 1,
}


@dataclass
class Cost:
    """What some workflows left in the server, all their runs together."""

    runs: int = 0
    events: int = 0
    bytes: int = 0
    actions: int = 0
    longest: int = 0
    """Events of the longest history."""

    kinds: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, history: Sequence[HistoryEvent]) -> None:
        """Count one run's history."""
        self.runs += 1
        self.events += len(history)
        self.bytes += sum(event.ByteSize() for event in history)
        self.actions += actions(history)
        self.longest = max(self.longest, len(history))
        for event in history:
            kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
            self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def each(self, count: int) -> dict[str, float]:
        """The cost of one of `count` things."""
        return {
            "history events": round(self.events / count, 2),
            "bytes": round(self.bytes / count),
            "actions": round(self.actions / count, 2),
        }


def actions(history: Sequence[HistoryEvent]) -> int:
    """Billable actions that a history shows."""
    plain = sum(_ACTIONS.get(event.event_type, 0) for event in history)
    attempts = (event.activity_task_started_event_attributes.attempt for event in history)
    retries = sum(max(attempt - 1, 0) for attempt in attempts)
    return plain + retries + _tasks_with_markers(history) - _started_by_signal(history)


def _tasks_with_markers(history: Iterable[HistoryEvent]) -> int:
    marked = EventType.EVENT_TYPE_MARKER_RECORDED
    return len(
        {
            event.marker_recorded_event_attributes.workflow_task_completed_event_id
            for event in history
            if event.event_type == marked
        }
    )


def _started_by_signal(history: Sequence[HistoryEvent]) -> int:
    """1 for a signal-with-start, which is one action; the first task comes after its signal."""
    signaled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    return int(len(history) > 1 and history[1].event_type == signaled)


async def ended(client: Client, instances: Iterable[str]) -> None:
    """Wait until workflows that end by themselves have ended."""
    for instance in instances:
        await client.get_workflow_handle(instance).result()


async def cost_of(client: Client, instances: Iterable[str]) -> Cost:
    """The cost of all runs of some workflows."""
    cost = Cost()
    for instance in instances:
        async for run in client.list_workflows(f'WorkflowId = "{instance}"'):
            handle = client.get_workflow_handle(instance, run_id=run.run_id)
            cost.add((await handle.fetch_history()).events)
    return cost
