"""Reads what callers send: the start argument and the arguments of signals and updates.

Callers may use any SDK or the command line, so nothing here trusts its input, and every refusal
says what was expected.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from temporalio.common import RawValue

from durable_jobs.protocol import JobRef, JobType
from durable_jobs.schedule import ScheduleRule, read_rule
from durable_jobs.wire import (
    JSON,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    MAX_EVENT_ID,
    MAX_STATE_BYTES,
    MAX_TEXT,
    dumps,
    from_raw,
    too_deep,
)

from .texts import EventText

MAX_BATCH_BYTES = 2 * 1024 * 1024

_TOO_DEEP = f"more than {MAX_DEPTH} lists and objects inside each other"
_BATCH = 'takes one argument {"events": [{"data": ..., "id": "optional"}]}'
_Method = TypeVar("_Method", bound=Callable[..., Any])


class BadInput(ValueError):
    """What a caller sent has the wrong shape; the message says what is expected."""


def raw_start(method: _Method) -> _Method:
    """Has a workflow's start argument come as the payload it was sent as.

    The method takes any number of arguments, so that a wrong one fails the workflow with words.
    The SDK would decode the arguments of such a method first, and a payload that cannot be decoded
    fails the workflow's task for ever.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    start = inspect.Parameter("start", kind, annotation=RawValue)
    method.__annotations__["start"] = RawValue
    declared = inspect.Signature([inspect.Parameter("self", kind), start])
    setattr(method, "__signature__", declared)  # noqa: B010 - pyright knows no such attribute
    return method


def read_start(
    args: Sequence[Any], job_type: JobType, workflow_id: str, *, continued: bool
) -> dict[str, JSON]:
    """The start argument, once its `job` and `key` agree with the workflow ID.

    `continued` says whether continue-as-new gave it, which alone may carry an instance's data.

    Raises:
        BadInput: wrong count, wrong shape, or another instance's ID.
    """
    expected = 'one JSON object such as {"job": "repo-digest", "key": "octocat/hello"}'
    start = as_object(_start_value(args[0])) if len(args) == 1 else None
    if start is None:
        raise BadInput(f"the start argument must be {expected}")
    job, key = start.get("job"), start.get("key")
    if not (isinstance(job, str) and isinstance(key, str) and job and key):
        raise BadInput(f"the start argument must be {expected}")
    instance_id = f"{job_type}:{job}:{key}"
    if workflow_id != instance_id:
        raise BadInput(f"the workflow ID must be {instance_id!r} for this job and key")
    if "carry" in start and not continued:
        raise BadInput("the field 'carry' is the library's own")
    if not isinstance(start.get("stateVersion", 1), int):
        raise BadInput("stateVersion must be a whole number")
    state = dumps(start.get("state"))
    if len(state) > MAX_STATE_BYTES:
        raise BadInput(f"the state has more than {MAX_STATE_BYTES:,} bytes as JSON")
    if too_deep(state):
        raise BadInput(f"the state has {_TOO_DEEP}")
    return start


def _start_value(argument: Any) -> JSON:
    try:
        return from_raw(argument) if isinstance(argument, RawValue) else argument
    except ValueError as error:
        raise BadInput(f"the start argument: {error}") from error


def as_object(value: JSON) -> dict[str, JSON] | None:
    """A JSON value as an object, None where it is something else."""
    return cast("dict[str, JSON]", value) if isinstance(value, dict) else None


def read_one_event(args: Sequence[RawValue]) -> EventText:
    """The event that `add` and `send` take as their one argument; raises `BadInput`."""
    if len(args) != 1:
        raise BadInput(f"takes the event as its one argument, got {len(args)} arguments")
    data = _read(args[0], MAX_EVENT_BYTES)
    if too_deep(args[0].payload.data):
        raise BadInput(f"the event has {_TOO_DEEP}")
    return EventText.of(data)


def read_nothing(args: Sequence[RawValue]) -> None:
    """Raises `BadInput` where a verb that takes no argument got one; some SDKs send a null."""
    if len(args) > 1 or (args and not _is_null(args[0])):
        raise BadInput(f"takes no argument, got {len(args)}")


def _is_null(raw: RawValue) -> bool:
    try:
        return from_raw(raw) is None
    except ValueError:
        return False


def read_events(args: Sequence[RawValue]) -> list[EventText]:
    """The events of `add_batch` and `send_batch`; raises `BadInput` where one is none."""
    found = read_batch(args)
    for item in found:
        if isinstance(item, BadInput):
            raise item
    return [item for item in found if isinstance(item, EventText)]


def read_batch(args: Sequence[RawValue]) -> list[EventText | BadInput]:
    """The same, with what is wrong with it in the place of an event that is none.

    Raises:
        BadInput: no event can be told.
    """
    if len(args) != 1:
        raise BadInput(f"{_BATCH}, got {len(args)} arguments")
    body = as_object(_read(args[0], MAX_BATCH_BYTES))
    events = body.get("events") if body is not None else None
    if not isinstance(events, list) or not events:
        raise BadInput(_BATCH)
    return [_event(item) for item in cast("list[JSON]", events)]


def asks_for_each(args: Sequence[RawValue]) -> bool:
    """Whether the caller of an update of many events wants an answer for each."""
    body = as_object(from_raw(args[0]))
    return body is not None and body.get("each") is True


def _event(item: JSON) -> EventText | BadInput:
    if not isinstance(item, dict) or "data" not in item:
        return BadInput(_BATCH)
    # Annotated rather than cast: this runs for each of very many events.
    event: dict[str, JSON] = item  # pyright: ignore[reportUnknownVariableType]
    event_id = event.get("id")
    if event_id is not None and not isinstance(event_id, str):
        return BadInput(f"{_BATCH}; the id must be a string")
    if event_id is not None and len(event_id) > MAX_EVENT_ID:
        return BadInput(f"the id has {len(event_id)} characters, at most {MAX_EVENT_ID}")
    text = EventText.of(event["data"], event_id)
    if text.size > MAX_EVENT_BYTES:
        return BadInput(f"an event has more than {MAX_EVENT_BYTES:,} bytes as JSON")
    if too_deep(text.json, MAX_DEPTH + 1):
        return BadInput(f"an event has {_TOO_DEEP}")
    return text


def _read(raw: RawValue, limit: int) -> JSON:
    # Our client refuses it before; a raw caller's must not make a command too large.
    if len(raw.payload.data) > limit:
        raise BadInput(f"has {len(raw.payload.data):,} bytes, at most {limit:,}")
    try:
        return from_raw(raw)
    except ValueError as error:
        raise BadInput(str(error)) from error


def read_note(args: Sequence[RawValue]) -> str | None:
    """The optional note of `pause` and `resume`, a string.

    Raises:
        BadInput: it is something else, or there are more arguments.
    """
    if len(args) > 1:
        raise BadInput(f"takes at most one argument, the note, got {len(args)}")
    note = _read(args[0], MAX_EVENT_BYTES) if args else None
    if note is not None and not isinstance(note, str):
        raise BadInput("takes no argument but a string, a note on who and why")
    return None if note is None else note[:MAX_TEXT]


def read_schedule(args: Sequence[RawValue]) -> ScheduleRule | None:
    """The schedule of `reschedule`; None where the job's own is to hold again.

    Raises:
        BadInput: it is none by its shape.
    """
    if len(args) > 1:
        raise BadInput(f"takes at most one argument, the schedule, got {len(args)}")
    given = _read(args[0], MAX_EVENT_BYTES) if args else None
    try:
        return None if given is None else read_rule(given)
    except ValueError as error:
        raise BadInput(str(error)) from error


def read_event_id(args: Sequence[RawValue]) -> str | None:
    """The optional id that `redrive` takes; raises `BadInput` where it is something else."""
    if len(args) > 1:
        raise BadInput(f"takes at most one argument, the event's id, got {len(args)}")
    event_id = _read(args[0], MAX_EVENT_BYTES) if args else None
    if event_id is not None and not isinstance(event_id, str):
        raise BadInput("takes no argument, for all events set aside, or the id of one, a string")
    return event_id


def read_reason(args: Sequence[RawValue]) -> str | None:
    """The optional reason of `terminate`; anything but a string is shown as JSON would be.

    Raises:
        BadInput: there are more arguments.
    """
    if len(args) > 1:
        raise BadInput(f"takes at most one argument, the reason, got {len(args)}")
    if not args:
        return None
    try:
        reason = from_raw(args[0])
    except ValueError:
        return None
    given = as_object(reason)
    reason = reason if given is None else given.get("reason")
    return None if reason is None else str(reason)[:MAX_TEXT]


def job_ref(start: dict[str, JSON], job_type: JobType) -> JobRef:
    """Which instance a start argument is for."""
    return JobRef(job_type=job_type, job=start["job"], key=start["key"])
