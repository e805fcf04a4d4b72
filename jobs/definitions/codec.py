"""Turns a job's events, states and replies into JSON and back."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError

from ..errors import (
    DefinitionError,
    InvalidEvent,
    InvalidState,
    JobsError,
    PayloadTooLarge,
    StateMismatch,
)
from ..faults import faults_of
from ..wire import JSON, MAX_DEPTH, MAX_EVENT_BYTES, MAX_STATE_BYTES, dumps, too_deep
from .warn import warn_once

if TYPE_CHECKING:
    from .base import Job


_LIMITS: dict[str, tuple[int, type[JobsError]]] = {
    "an event": (MAX_EVENT_BYTES, InvalidEvent),
    "a state": (MAX_STATE_BYTES, InvalidState),
    "a reply": (MAX_EVENT_BYTES, InvalidState),
}
"""How many bytes each may have, and the error where one has another fault."""


class Codec:
    """The three type adapters of one job class."""

    def __init__(self, job: type["Job"]) -> None:
        self._job = job.name
        self._replies = job.reply_type not in (None, type(None))
        self.event: TypeAdapter[Any] = _adapter(job, job.event_type)
        self._plain_events = _is_plain(self.event)
        self._events: TypeAdapter[list[Any]] = _adapter(job, list[job.event_type])
        self.state: TypeAdapter[Any] = _adapter(job, job.state_type)
        self.reply: TypeAdapter[Any] = _adapter(job, job.reply_type)

    def event_json(self, event: Any, key: str) -> bytes:
        """An event as JSON text.

        Raises:
            InvalidEvent: it does not fit the event type.
            PayloadTooLarge: it has more than 256 KB as JSON.
        """
        try:
            valid = self.event.validator.validate_python(event)
            encoded = dumps(valid if self._plain_events else _dump(self.event, valid))
        except (ValidationError, PydanticSerializationError) as error:
            raise InvalidEvent(f"{self._job}, key {key!r}: {describe(error)}") from None
        self._check(encoded, "an event", key)
        return encoded

    def load_event(self, data: JSON) -> Any:
        """An event out of JSON; raises `InvalidEvent`."""
        try:
            return _load(self.event, data)
        except ValidationError as error:
            raise InvalidEvent(describe(error)) from None

    def load_events(self, data: Sequence[JSON]) -> list[Any]:
        """Events out of JSON; an `InvalidEvent` in the place of each that does not fit."""
        try:
            # All at once costs a third.
            return _load(self._events, data)
        except BaseException:  # a validator of the user's may raise anything
            return [self._event_or_error(each) for each in data]

    def _event_or_error(self, data: JSON) -> Any:
        try:
            return self.load_event(data)
        except InvalidEvent as error:
            return error
        except BaseException as error:
            return InvalidEvent(f"a validator raised {type(error).__name__}")

    def dump_state(self, state: Any, key: str) -> JSON:
        """A state as JSON; raises `InvalidState` or, over 512 KB, `PayloadTooLarge`."""
        return self.limit_state(self.show_state(state, key), key)

    def show_state(self, state: Any, key: str) -> JSON:
        """A state of any size as JSON; raises `InvalidState`."""
        try:
            return _dump(self.state, state)
        except PydanticSerializationError as error:
            raise InvalidState(f"{self._job}, key {key!r}: {describe(error)}") from None

    def limit_state(self, data: JSON, key: str) -> JSON:
        """The JSON of a state itself; raises `PayloadTooLarge` over 512 KB."""
        return self._limited(data, "a state", key)

    def dump_reply(self, reply: Any, key: str) -> JSON:
        """A reply as JSON; raises `InvalidState` or, over 256 KB, `PayloadTooLarge`.

        What a job without a reply type returns is nobody's.
        """
        if not self._replies:
            return None
        try:
            data = _dump(self.reply, reply)
        except PydanticSerializationError as error:
            raise InvalidState(f"{self._job}, key {key!r}: the reply: {describe(error)}") from None
        return self._limited(data, "a reply", key)

    def load_reply(self, data: JSON) -> Any:
        """A reply out of JSON."""
        return _load(self.reply, data)

    def check_state(self, state: Any, key: str) -> JSON:
        """A state that a caller gave, judged and as JSON; raises as `dump_state`."""
        try:
            return self.dump_state(self.state.validate_python(state), key)
        except ValidationError as error:
            raise InvalidState(f"{self._job}, key {key!r}: {describe(error)}") from None

    def load_state(self, job: "Job", data: JSON, version: int) -> Any:
        """A stored state, upgraded where the class is newer.

        Raises:
            StateMismatch: it does not fit the state type.
        """
        if version != job.state_version:
            data = job.upgrade_state(version, data)
        try:
            return _load(self.state, data)
        except ValidationError as error:
            raise StateMismatch(
                f"{self._job}: the stored state (version {version}) does not fit: "
                f"{describe(error)}. Raise state_version and write upgrade_state."
            ) from None

    def read_state(self, data: JSON) -> Any:
        """A state out of an instance's answer; raises `StateMismatch`."""
        try:
            return _load(self.state, data)
        except ValidationError as error:
            raise StateMismatch(
                f"{self._job}: the instance's state does not fit: {describe(error)}"
            ) from None

    def _limited(self, data: JSON, what: str, key: str) -> JSON:
        self._check(dumps(data), what, key)
        return data

    def _check(self, encoded: bytes, what: str, key: str) -> None:
        limit, invalid = _LIMITS[what]
        length = len(encoded)
        if length > limit:
            raise PayloadTooLarge(
                f"{self._job}, key {key!r}: {what} has {length:,} bytes as JSON, "
                f"the limit is {limit:,}. Keep a reference and store the rest elsewhere."
            )
        if length > limit // 2:
            warn_once(f"{self._job}: {what} has {length:,} bytes of at most {limit:,}")
        if too_deep(encoded):
            raise invalid(
                f"{self._job}, key {key!r}: {what} has more than {MAX_DEPTH} lists and objects "
                "inside each other"
            )


@lru_cache(maxsize=1024)
def codec_of(job: type["Job"]) -> Codec:
    """The codec of a job class, built once."""
    return Codec(job)


def describe(error: Exception) -> str:
    """What is wrong with a value and where, without the value itself."""
    if not isinstance(error, ValidationError):
        return f"not serialisable: {type(error).__name__}"
    found = faults_of(error)
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
    return "; ".join(found[:5]) + more


def _is_plain(adapter: TypeAdapter[Any]) -> bool:
    """Whether what the type lets pass is JSON as it is: most events are an id or a number."""
    schema = adapter.core_schema
    return schema["type"] in ("bool", "int", "str") and "serialization" not in schema


def _dump(adapter: TypeAdapter[Any], value: Any) -> JSON:
    return adapter.serializer.to_python(value, mode="json", by_alias=True, warnings="error")


def _load(adapter: TypeAdapter[Any], data: JSON) -> Any:
    # By way of JSON, where "2026-01-01" is a date and a list a tuple, also in strict models.
    return adapter.validate_json(dumps(data))


def _adapter(job: type["Job"], kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError, TypeError) as error:
        raise DefinitionError(f"{job.name}: pydantic cannot handle {kind!r}: {error}") from error
