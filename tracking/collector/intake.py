"""A request's body as events, each judged by itself."""

import json
import re
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NoReturn, TypeAlias, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from ..events import check_event
from ..moments import milliseconds, read_moment

# What a compatible client may leave out, although ours never does.
_OPTIONAL = {
    "source": "job",
    "env": "",
    "serviceKey": "",
    "executionId": "",
    "sequence": 1,
    "attempt": 1,
}
MAX_ELEMENTS = 10_000  # of one body
_DIGITS = 4_300  # of one number; Python reads no more either

_AHEAD = 300_000  # ms that a sender's clock may be ahead of ours
_SHOWN = 100  # characters of a name in the log
_SPACE = re.compile(r"[ \t\n\r]*")
_HEAD = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"events"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*')
_TAIL = re.compile(r"\}[ \t\n\r]*")

Name: TypeAlias = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1000)]
Text: TypeAlias = Annotated[str, StringConstraints(strict=True, max_length=1000)]


class Malformed(Exception):
    """The body is no batch of events at all."""


class TooMany(Exception):
    """The body has more elements than are looked at."""


class _Envelope(BaseModel):
    """What every event must say of itself, whatever its type."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="ignore", alias_generator=to_camel, hide_input_in_errors=True
    )

    event_id: Name
    type: Name
    instance_id: Name
    id: Text = ""
    job_type: Text = ""
    job_name: Text = ""
    env: Text = ""
    service_key: Text = ""
    execution_id: Text | None = None
    sequence: Annotated[StrictInt, Field(ge=1, lt=2**53)] | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """One event as it is kept."""

    event_id: str
    at: int
    """Milliseconds since 1970; when it came, if it claims to come from far in the future."""
    type: str
    instance: str
    key: str
    job_type: str
    job: str
    env: str
    service: str
    execution: str | None
    sequence: int | None
    data: dict[str, Any]
    """Its fields that are no objects or lists, and of its error the message."""
    raw: str
    """Its text as it came."""


@dataclass
class Batch:
    """A request's events, good and bad."""

    accepted: list[Accepted] = field(default_factory=list[Accepted])
    errors: dict[str, str] = field(default_factory=dict[str, str])
    """Why an event is refused for good, by its ID."""
    unnamed: int = 0
    """Refused events that have no usable ID."""
    example: str = ""
    """The first refused event and the reason, for the log."""

    def refuse(self, value: object, reason: str) -> None:
        """Note an event that is refused for good."""
        identity = _identity(value)
        if identity is None:
            self.unnamed += 1
        else:
            self.errors[identity] = reason
        instance = cast("dict[str, Any]", value).get("instanceId") if identity else None
        named = f"{_shown(identity)} of {_shown(instance)}" if identity else "one without an ID"
        self.example = self.example or f"{named}: {reason}"


def read_batch(body: bytes) -> Batch:
    """Judge each event of `{"events": [ … ]}`; raises Malformed where it is not that.

    Raises TooMany where there are more than it looks at.
    """
    batch, now = Batch(), time.time_ns() // 1_000_000
    for element, raw in _elements(body):
        value = element.value if isinstance(element, _Absurd) else element
        try:
            if isinstance(element, _Absurd):
                raise ValueError(f"has a number of more than {_DIGITS:,} digits")
            batch.accepted.append(_accept(value, raw, now))
        except ValueError as error:
            batch.refuse(value, _reason(error))
    return batch


def _accept(value: object, raw: str, now: int) -> Accepted:
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    event = cast("dict[str, Any]", value)
    moment = read_moment(event, "timestamp")
    known = _Envelope.model_validate(event)
    check_event({**_OPTIONAL, **event})
    placed = known.execution_id and known.sequence
    at = milliseconds(moment)
    return Accepted(
        event_id=known.event_id,
        # One clock that is far ahead must not hold its instance above all others.
        at=at if at <= now + _AHEAD else now,
        type=known.type,
        instance=known.instance_id,
        key=known.id,
        job_type=known.job_type,
        job=known.job_name,
        env=known.env,
        service=known.service_key,
        execution=known.execution_id if placed else None,
        sequence=known.sequence if placed else None,
        data=_telling(event),
        raw=raw,
    )


def _telling(event: dict[str, Any]) -> dict[str, Any]:
    """What the books and a line for people say of it: the rest is in its text."""
    told = {name: value for name, value in event.items() if not isinstance(value, dict | list)}
    error = event.get("error")
    if isinstance(error, dict):
        told["error"] = {"message": cast("dict[str, Any]", error).get("message")}
    return told


def _shown(name: object) -> str:
    if not isinstance(name, str):
        return "no text"
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def _identity(value: object) -> str | None:
    identity = cast("dict[str, Any]", value).get("eventId") if isinstance(value, dict) else None
    usable = isinstance(identity, str) and 0 < len(identity) <= 1000
    return identity if usable else None


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    found = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
    return "; ".join(found)[:500]


def _elements(body: bytes) -> list[tuple[object, str]]:
    """Each element of the array `events` with the very text it was written in."""
    text = _text(body)
    problem: Exception | None = None
    # One number may be too long for Python: that is the fault of one event alone.
    for reader in (_Reader(), _CarefulReader()):
        try:
            return _parsed(text, reader)
        except (ValueError, IndexError, RecursionError) as error:
            problem = error
    raise Malformed("the body is not JSON") from problem


@dataclass(frozen=True, slots=True)
class _Absurd:
    """An element that has a number with more digits than are read."""

    value: object


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _Reader:
    """Reads one JSON value after another."""

    decoder: json.JSONDecoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def element(self, text: str, position: int) -> tuple[object, int]:
        """The value that begins there, and where it ends."""
        return self.decoder.raw_decode(text, position)


class _CarefulReader(_Reader):
    """Slower; marks elements that have an absurd number."""

    def __init__(self) -> None:
        self.decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=self._whole)
        self._absurd = False

    def element(self, text: str, position: int) -> tuple[object, int]:
        """See base class."""
        self._absurd = False
        value, end = super().element(text, position)
        return _Absurd(value) if self._absurd else value, end

    def _whole(self, digits: str) -> int:
        if len(digits) <= _DIGITS:
            return int(digits)
        self._absurd = True
        return 0


def _parsed(text: str, reader: _Reader) -> list[tuple[object, str]]:
    return _lone_array(text, reader) or _walk(text, _array_start(text, reader), reader)


def _lone_array(text: str, reader: _Reader) -> list[tuple[object, str]] | None:
    """The elements where the body has no other member, as almost all have: parsed once."""
    head = _HEAD.match(text)
    if head is None or text[head.end()] == "]":
        return None
    found: list[tuple[object, str]] = []
    position, mark = head.end(), ","
    while mark == ",":
        value, end = reader.element(text, position)
        _keep(found, value, text[position:end])
        position = _skip(text, end)
        mark = text[position]
        position = _skip(text, position + 1)
    return found if mark == "]" and _TAIL.fullmatch(text, position) else None


def _keep(found: list[tuple[object, str]], value: object, raw: str) -> None:
    if len(found) == MAX_ELEMENTS:
        raise TooMany
    found.append((value, raw))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed("the body is not UTF-8") from error


def _array_start(text: str, reader: _Reader) -> int:
    """Where the array begins that is the member `events` of the object `text`."""
    whole: Any = reader.decoder.decode(text)
    events: Any = cast("dict[str, Any]", whole).get("events") if isinstance(whole, dict) else None
    if not isinstance(events, list):
        raise Malformed('expected is {"events": [ … ]}')
    found = position = 0
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "}":
        name, position = reader.decoder.raw_decode(text, position)
        start = _skip(text, _skip(text, position) + 1)
        found = start if name == "events" else found
        position = _skip(text, reader.decoder.raw_decode(text, start)[1])
        position = _skip(text, position + 1) if text[position] == "," else position
    return found


def _walk(text: str, start: int, reader: _Reader) -> list[tuple[object, str]]:
    found: list[tuple[object, str]] = []
    position = _skip(text, start + 1)
    while text[position] != "]":
        value, end = reader.element(text, position)
        _keep(found, value, text[position:end])
        position = _skip(text, end)
        position = _skip(text, position + 1) if text[position] == "," else position
    return found


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
