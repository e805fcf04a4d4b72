"""Runs instances under tracking and reads what was tracked of them."""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.definitions import Job
from durable_jobs.protocol import EventTypes
from durable_jobs.testing.replays import assert_replays, histories_of
from durable_jobs.tracking import MemorySink, Sink, Tracking, parse_event
from tests.support import PATIENCE, eventually

Event = dict[str, Any]

ENV, SERVICE = "test-env", "test-service"
COMMON = {
    "eventId",
    "timestamp",
    "source",
    "instanceId",
    "id",
    "jobType",
    "jobName",
    "env",
    "serviceKey",
    "type",
    "executionId",
    "sequence",
}
TERMINAL = "job.terminated"
WINDOW = ["debounce.started", "job.executed", "debounce.flushed"]


class Matching:
    """Equals whatever its condition holds for."""

    def __init__(self, name: str, holds: Callable[[Any], bool]) -> None:
        self._name, self._holds = name, holds

    def __eq__(self, other: object) -> bool:
        try:
            return bool(self._holds(other))
        except (TypeError, ValueError):
            return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._name


def time_of(text: str) -> datetime:
    """A time on the wire: UTC, milliseconds, `Z`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


DURATION = Matching("<a duration in ms>", lambda v: type(v) is int and 0 <= v < 10_000)
TIME = Matching("<a time>", lambda v: len(v) == 24 and bool(time_of(v)))


def between(least: int, most: int) -> Matching:
    """A whole number of milliseconds."""
    return Matching(f"<{least} to {most}>", lambda v: type(v) is int and least <= v <= most)


def stack_of(first: str, last: str) -> Matching:
    """A stack that begins in a function and ends with an error."""

    def holds(text: str) -> bool:
        lines = text.splitlines()
        begins = lines[0].lstrip().startswith("File ") and lines[0].endswith(f" in {first}")
        return begins and lines[-1] == last

    return Matching(f"<a stack from {first} to {last!r}>", holds)


def started() -> Event:
    """A window opened."""
    return {"type": "debounce.started", "flushAt": TIME}


def executed(run: int, handler: str = "execute", attempt: int = 1) -> Event:
    """A run succeeded."""
    return {
        "type": "job.executed",
        "runCount": run,
        "durationMs": DURATION,
        "attempt": attempt,
        "handler": handler,
    }


def failed(run: int, attempt: int, *, again: bool, handler: str = "execute") -> Event:
    """An attempt failed as `fail_if_asked` lets it."""
    message = f"ValueError: attempt {attempt} failed"
    return {
        "type": "job.failed",
        "error": {"message": message, "stack": stack_of(handler, message)},
        "runCount": run,
        "attempt": attempt,
        "willRetry": again,
    }


def failed_for_good(run: int, handler: str = "execute") -> list[Event]:
    """All three attempts of a run failed."""
    return [
        failed(run, 1, again=True, handler=handler),
        failed(run, 2, again=True, handler=handler),
        failed(run, 3, again=False, handler=handler),
        {"type": "job.retryExhausted", "attempts": 3, "reason": "max_attempts"},
    ]


def flushed(count: int, reason: str = "timeout", ms: object = DURATION) -> Event:
    """A window was flushed."""
    return {
        "type": "debounce.flushed",
        "eventCount": count,
        "reason": reason,
        "flushReason": reason,
        "durationMs": ms,
    }


def terminated(reason: str | None, run: int, discarded: int = 0) -> Event:
    """A life ended."""
    given = {} if reason is None else {"reason": reason}
    ended = "exhausted" if (reason or "").startswith("Retry exhausted") else "terminated"
    return {
        "type": "job.terminated",
        "runCount": run,
        "discardedEvents": discarded,
        **given,
        "ended": ended,
    }


def paused(by: str = "user", **note: str) -> Event:
    """It starts nothing new."""
    return {"type": "job.paused", "by": by, **note}


def resumed(by: str = "user", **note: str) -> Event:
    """It goes on."""
    return {"type": "job.resumed", "by": by, **note}


def scheduled(trigger: str) -> Event:
    """A handler set the alarm."""
    return {"type": "task.scheduled", "scheduledAt": TIME, "trigger": trigger}


EXHAUSTED = "Retry exhausted after 3 attempts"


@dataclass
class Tracked:
    """A worker with tracking, and all that it sent."""

    client: Client
    queue: str
    jobs: JobClient
    sink: MemorySink
    plugin: JobsPlugin

    def handle(self, instance_id: str) -> WorkflowHandle[Any, Any]:
        """The instance's workflow."""
        return self.client.get_workflow_handle(instance_id)

    def sent(self, instance_id: str) -> list[Event]:
        """What was tracked of an instance so far, by sequence; the same event only once."""
        return in_order(self.sink.events, instance_id)

    async def until(self, instance_id: str, *kinds: str, within: float = PATIENCE) -> list[Event]:
        """The life's events once they end with those types."""

        def ends_so() -> list[Event]:
            events = self.sent(instance_id)
            return events if kinds_of(events)[-len(kinds) :] == list(kinds) else []

        try:
            return await eventually(ends_so, within=within)
        except AssertionError as error:
            raise AssertionError(f"so far: {kinds_of(self.sent(instance_id))}") from error

    async def life(self, instance_id: str, *kinds: str) -> list[Event]:
        """The events of a life, once they end so, without their common fields, checked here."""
        events = await self.until(instance_id, *kinds)
        await check_common(self.client, instance_id, events)
        return [specific(event) for event in events]


def in_order(events: Sequence[Any], instance_id: str) -> list[Event]:
    """An instance's events by sequence, each once; one that came twice came the same."""
    unique: dict[str, Event] = {}
    for event in events:
        if event["instanceId"] == instance_id:
            assert unique.setdefault(event["eventId"], event) == event
    return sorted(unique.values(), key=lambda event: event["sequence"])


def kinds_of(events: Sequence[Event]) -> list[str]:
    """The events' types."""
    return [event["type"] for event in events]


def specific(event: Event) -> Event:
    """The event without what all events have, but for its type."""
    return {name: v for name, v in event.items() if name not in COMMON or name == "type"}


async def first_run_of(client: Client, instance_id: str) -> str:
    """The first run ID of an instance's latest life."""
    description = await client.get_workflow_handle(instance_id).describe()
    return description.raw_description.workflow_execution_info.first_run_id


async def reset_to_task(worker: Tracked, instance_id: str, place: int) -> str:
    """Have a workflow task, and all after it, once more; returns the ID of the new run."""

    async def finished() -> int | None:
        history = await worker.handle(instance_id).fetch_history()
        completed = [
            event.event_id
            for event in history.events
            if event.HasField("workflow_task_completed_event_attributes")
        ]
        return completed[place] if len(completed) > place else None

    answer = await worker.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=worker.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=instance_id),
            # What a task sent may arrive before the server has the task.
            workflow_task_finish_event_id=await eventually(finished),
            request_id=str(uuid.uuid4()),
            reason="a test",
        )
    )
    return answer.run_id


async def check_common(client: Client, instance_id: str, events: list[Event]) -> None:
    """Compare the fields that all events of a life have."""
    first_run = await first_run_of(client, instance_id)
    kind, name, key = instance_id.split(":", 2)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    for event in events:
        assert event.keys() >= COMMON
        check_id(event["eventId"], time_of(event["timestamp"]))
        assert {field: event[field] for field in COMMON - {"eventId", "timestamp", "sequence"}} == {
            "source": "job",
            "instanceId": instance_id,
            "id": key,
            "jobType": kind,
            "jobName": name,
            "env": ENV,
            "serviceKey": SERVICE,
            "type": event["type"],
            "executionId": first_run,
        }
        assert_parses(event)
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert abs(datetime.now(UTC) - time_of(times[-1])) < timedelta(minutes=1)


def check_id(text: str, at: datetime) -> None:
    """A UUIDv7 of that time."""
    found = uuid.UUID(text)
    assert str(found) == text
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == round(at.timestamp() * 1000)


def assert_parses(event: Event) -> None:
    """The model of the event's type reads all its fields and writes the same."""
    parsed = parse_event(event).to_wire()
    assert parsed == event, f"{event.keys() ^ parsed.keys()}"


@asynccontextmanager
async def tracked_worker(
    client: Client,
    queue: str,
    jobs: Sequence[Job],
    *,
    sink: Sink | None = None,
    types: EventTypes = "all",
    **options: Any,
) -> AsyncIterator[Tracked]:
    """A worker with tracking; without a sink of the caller's it keeps the events.

    At the end all that it did is replayed.
    """
    memory = MemorySink()
    tracking = Tracking(sink or memory, env=ENV, service_key=SERVICE, types=types)
    plugin = JobsPlugin(jobs, tracking)
    async with Worker(client, task_queue=queue, plugins=[plugin], **options):
        yield Tracked(client, queue, JobClient(client, task_queue=queue), memory, plugin)
    await assert_replays(await histories_of(client, queue), plugin, client.data_converter)
