"""Reads what callers send: the start argument and the arguments of signals and updates.

Callers may use any SDK or the command line, so nothing here trusts its input, and every refusal
says what was expected.
"""

from collections.abc import Sequence
from typing import Any, cast

from temporalio.common import RawValue

from durable_jobs.protocol import EventIn, JobRef, JobType
from durable_jobs.wire import JSON, MAX_EVENT_BYTES, from_raw


class BadInput(ValueError):
    """What a caller sent has the wrong shape; the message says what is expected."""


def read_start(args: Sequence[Any], job_type: JobType, workflow_id: str) -> dict[str, JSON]:
    """The start argument, once its `job` and `key` agree with the workflow ID.

    Raises:
        BadInput: wrong count, wrong shape, or another instance's ID.
    """
    expected = 'one JSON object such as {"job": "repo-digest", "key": "octocat/hello"}'
    start = as_object(args[0]) if len(args) == 1 else None
    if start is None:
        raise BadInput(f"the start argument must be {expected}")
    job, key = start.get("job"), start.get("key")
    if not (isinstance(job, str) and isinstance(key, str) and job and key):
        raise BadInput(f"the start argument must be {expected}")
    instance_id = f"{job_type}:{job}:{key}"
    if workflow_id != instance_id:
        raise BadInput(f"the workflow ID must be {instance_id!r} for this job and key")
    return start


def as_object(value: JSON) -> dict[str, JSON] | None:
    """A JSON value as an object, None where it is something else."""
    return cast("dict[str, JSON]", value) if isinstance(value, dict) else None


def read_one_event(args: Sequence[RawValue]) -> EventIn:
    """The event that `add` and `send` take as their one argument; raises `BadInput`."""
    if len(args) != 1:
        raise BadInput(f"takes the event as its one argument, got {len(args)} arguments")
    return EventIn(data=_read(args[0]))


def read_events(args: Sequence[RawValue]) -> list[EventIn]:
    """The events of `add_batch` and `send_batch`; raises `BadInput`."""
    expected = 'takes one argument {"events": [{"data": ..., "id": "optional"}]}'
    if len(args) != 1:
        raise BadInput(f"{expected}, got {len(args)} arguments")
    body = as_object(_read(args[0]))
    events = body.get("events") if body is not None else None
    if not isinstance(events, list) or not events:
        raise BadInput(expected)
    return [_event(item, expected) for item in cast("list[JSON]", events)]


def _event(item: JSON, expected: str) -> EventIn:
    event = as_object(item)
    if event is None or "data" not in event:
        raise BadInput(expected)
    event_id = event.get("id")
    if event_id is not None and not isinstance(event_id, str):
        raise BadInput(f"{expected}; the id must be a string")
    return EventIn(data=event["data"], id=event_id)


def _read(raw: RawValue) -> JSON:
    # A payload over the limit was refused by our client; a raw caller's must not fill the state.
    if len(raw.payload.data) > MAX_EVENT_BYTES * 8:
        raise BadInput(f"has {len(raw.payload.data):,} bytes, send smaller events or batches")
    try:
        return from_raw(raw)
    except ValueError as error:
        raise BadInput(str(error)) from error


def read_reason(args: Sequence[RawValue]) -> str | None:
    """The optional reason of `terminate`; anything but a string is shown as JSON would be."""
    if not args:
        return None
    try:
        reason = from_raw(args[0])
    except ValueError:
        return None
    given = as_object(reason)
    reason = reason if given is None else given.get("reason")
    return None if reason is None else str(reason)[:1000]


def job_ref(start: dict[str, JSON], job_type: JobType) -> JobRef:
    """Which instance a start argument is for."""
    return JobRef(job_type=job_type, job=start["job"], key=start["key"])
