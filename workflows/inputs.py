"""Reads what callers send: the start argument and the arguments of signals and updates.

Callers may use any SDK or the command line, so nothing here trusts its input, and every refusal
says what was expected.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, cast

from temporalio.common import RawValue

from durable_jobs.kinds import Argument, JobKind
from durable_jobs.schedule import read_rule
from durable_jobs.values import (
    JSON,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    MAX_EVENT_ID,
    MAX_PRIORITY,
    MAX_STATE_BYTES,
    MAX_TEXT,
    dumps,
    too_deep,
)
from durable_jobs.wire import from_raw

from .machines.messages import BadInput, Message
from .machines.texts import EventText

MAX_BATCH_BYTES = 2 * 1024 * 1024
MAX_BATCH_EVENTS = 10_000
"""In one signal or update: each event takes its time to read. Our clients send a tenth of it."""

_START = 'one JSON object such as {"job": "repo-digest", "key": "octocat/hello"}'
_TOO_DEEP = f"more than {MAX_DEPTH} lists and objects inside each other"
_BATCH = 'takes one argument {"events": [{"data": ..., "id": "optional"}]}'
_NOTE = "takes no argument but a string, a note on who and why"
_EVENT_ID = "takes no argument, for all events set aside, or the id of one, a string"


def read_start(
    args: Sequence[Any], kind: JobKind, workflow_id: str, *, continued: bool
) -> dict[str, JSON]:
    """The start argument, once its `job` and `key` agree with the workflow ID.

    `continued` says whether continue-as-new gave it, which alone may carry an instance's data.

    Raises:
        BadInput: wrong count, wrong shape, or another instance's ID.
    """
    start = as_object(_value_of(args[0], "the start argument: ")) if len(args) == 1 else None
    if start is None:
        raise BadInput(f"the start argument must be {_START}")
    job, key = start.get("job"), start.get("key")
    if not (isinstance(job, str) and isinstance(key, str) and job and key):
        raise BadInput(f"the start argument must be {_START}")
    instance_id = f"{kind.name}:{job}:{key}"
    if not kind.takes_key(key):
        raise BadInput(f"the key of a {kind.name} instance is {kind.key_meaning}, not {key!r}")
    if workflow_id != instance_id:
        raise BadInput(f"the workflow ID must be {instance_id!r} for this job and key")
    if "carry" in start and not continued:
        raise BadInput("the field 'carry' is the library's own")
    if type(start.get("stateVersion", 1)) is not int:
        raise BadInput("stateVersion must be a whole number")
    _check_state(start.get("state"))
    return start


def _check_state(state: JSON) -> None:
    text = dumps(state)
    if len(text) > MAX_STATE_BYTES:
        raise BadInput(f"the state has more than {MAX_STATE_BYTES:,} bytes as JSON")
    if too_deep(text):
        raise BadInput(f"the state has {_TOO_DEEP}")


def _value_of(argument: Any, where: str = "") -> JSON:
    try:
        return from_raw(argument) if isinstance(argument, RawValue) else argument
    except ValueError as error:
        raise BadInput(f"{where}{error}") from error


def as_object(value: JSON) -> dict[str, JSON] | None:
    """A JSON value as an object, None where it is something else."""
    return cast("dict[str, JSON]", value) if isinstance(value, dict) else None


def read_message(kind: JobKind, name: str, args: Sequence[RawValue], at: datetime) -> Message:
    """A signal or update, read by what its verb takes.

    Raises:
        BadInput: it has another shape; says what is expected.
    """
    message = Message(name, at)
    takes = kind.verbs.get(name)
    if takes is None:
        raise BadInput(f"{kind.name} jobs take no {name!r}")
    _READERS[takes](message, args)
    return message


def _read_one_event(message: Message, args: Sequence[RawValue]) -> None:
    beside = as_object(_read(args[1], MAX_EVENT_BYTES)) if len(args) == 2 else None
    if len(args) != 1 and (beside is None or "traceparent" not in beside):
        raise BadInput(f"takes the event as its one argument, got {len(args)} arguments")
    data = _read(args[0], MAX_EVENT_BYTES)
    if too_deep(args[0].payload.data):
        raise BadInput(f"the event has {_TOO_DEEP}")
    traceparent = None if beside is None else beside["traceparent"]
    message.events = [EventText.of(data, traceparent=traceparent)]


def _read_nothing(message: Message, args: Sequence[RawValue]) -> None:
    # Some SDKs send a null.
    if len(args) > 1 or (args and not _is_null(args[0])):
        raise BadInput(f"takes no argument, got {len(args)}")


def _is_null(raw: RawValue) -> bool:
    try:
        return from_raw(raw) is None
    except ValueError:
        return False


def _read_batch(message: Message, args: Sequence[RawValue]) -> None:
    if len(args) != 1:
        raise BadInput(f"{_BATCH}, got {len(args)} arguments")
    body = as_object(_read(args[0], MAX_BATCH_BYTES))
    events = body.get("events") if body is not None else None
    if body is None or not isinstance(events, list) or not events:
        raise BadInput(_BATCH)
    items = cast("list[JSON]", events)
    if len(items) > MAX_BATCH_EVENTS:
        raise BadInput(f"brings {len(items):,} events, at most {MAX_BATCH_EVENTS:,}")
    message.events = [_event(item) for item in items]
    message.each, message.judged = body.get("each") is True, body.get("judged") is True


def _event(item: JSON) -> EventText | BadInput:
    if not isinstance(item, dict) or "data" not in item:
        return BadInput(_BATCH)
    # Annotated rather than cast: this runs for each of very many events.
    event: dict[str, JSON] = item  # pyright: ignore[reportUnknownVariableType]
    event_id, priority = event.get("id"), event.get("priority", 0)
    if event_id is not None and not isinstance(event_id, str):
        return BadInput(f"{_BATCH}; the id must be a string")
    if event_id is not None and len(event_id) > MAX_EVENT_ID:
        return BadInput(f"the id has {len(event_id)} characters, at most {MAX_EVENT_ID}")
    if type(priority) is not int or abs(priority) > MAX_PRIORITY:
        return BadInput(f"{_BATCH}; a priority is a whole number up to {MAX_PRIORITY:,}")
    text = EventText.of(event["data"], event_id, priority, event.get("traceparent"))
    if text.size > MAX_EVENT_BYTES:
        return BadInput(f"an event has more than {MAX_EVENT_BYTES:,} bytes as JSON")
    if too_deep(text.json, MAX_DEPTH + 1):
        return BadInput(f"an event has {_TOO_DEEP}")
    return text


def _read(raw: RawValue, limit: int) -> JSON:
    # Our client refuses it before; a raw caller's must not make a command too large.
    if len(raw.payload.data) > limit:
        raise BadInput(f"has {len(raw.payload.data):,} bytes, at most {limit:,}")
    return _value_of(raw)


def _read_text(args: Sequence[RawValue], what: str, expected: str) -> str | None:
    if len(args) > 1:
        raise BadInput(f"takes at most one argument, {what}, got {len(args)}")
    text = _read(args[0], MAX_EVENT_BYTES) if args else None
    if text is not None and not isinstance(text, str):
        raise BadInput(expected)
    return text


def _read_note(message: Message, args: Sequence[RawValue]) -> None:
    note = _read_text(args, "the note", _NOTE)
    message.text = None if note is None else note[:MAX_TEXT]


def _read_event_id(message: Message, args: Sequence[RawValue]) -> None:
    message.text = _read_text(args, "the event's id", _EVENT_ID)


def _read_reason(message: Message, args: Sequence[RawValue]) -> None:
    """The reason of `terminate`; anything but a string is shown as Python shows it."""
    if len(args) > 1:
        raise BadInput(f"takes at most one argument, the reason, got {len(args)}")
    try:
        reason = from_raw(args[0]) if args else None
    except ValueError:
        return
    given = as_object(reason)
    reason = reason if given is None else given.get("reason")
    message.text = None if reason is None else str(reason)[:MAX_TEXT]


def _read_schedule(message: Message, args: Sequence[RawValue]) -> None:
    """The schedule of `reschedule`; None where the job's own is to hold again."""
    if len(args) > 1:
        raise BadInput(f"takes at most one argument, the schedule, got {len(args)}")
    given = _read(args[0], MAX_EVENT_BYTES) if args else None
    try:
        message.rule = None if given is None else read_rule(given)
    except ValueError as error:
        raise BadInput(str(error)) from error


_READERS: dict[Argument, Callable[[Message, Sequence[RawValue]], None]] = {
    "event": _read_one_event,
    "events": _read_batch,
    "nothing": _read_nothing,
    "note": _read_note,
    "id": _read_event_id,
    "reason": _read_reason,
    "schedule": _read_schedule,
}
