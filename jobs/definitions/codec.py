"""Turns a job's events, states and replies into JSON and back."""

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import (
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)
from pydantic_core import PydanticSerializationError, from_json

from ..errors import (
    DefinitionError,
    InvalidEvent,
    InvalidState,
    PayloadTooLarge,
    StateMismatch,
)
from ..wire import JSON, MAX_EVENT_BYTES, MAX_STATE_BYTES, dumps, too_deep
from .form import Form, UnreadableError
from .methods import call_plain
from .unreadable import faults_of_type
from .unwritable import TOO_DEEP
from .warn import warn_once

if TYPE_CHECKING:
    from .base import Job


_LIMITS = {"an event": MAX_EVENT_BYTES, "a state": MAX_STATE_BYTES, "a reply": MAX_EVENT_BYTES}
"""How many bytes each may have."""


class Codec:
    """The types of one job class: what is written for them is read back first."""

    def __init__(self, job: type["Job"]) -> None:
        self._job = job.name
        self._replies = job.reply_type not in (None, type(None))
        self._event = _form(job, job.event_type, "event")
        self._events: TypeAdapter[list[Any]] = _adapter(job, list[job.event_type], "event")
        self._state = _form(job, job.state_type, "state")
        self._reply = _form(job, job.reply_type, "reply")

    def event_json(self, event: Any, key: str) -> bytes:
        """An event as JSON text.

        Raises:
            InvalidEvent: it does not fit the event type, or its JSON is not read back the same.
            PayloadTooLarge: it has more than 256 KB as JSON.
        """
        try:
            encoded = self._event.write_judged(event)
        except UnreadableError as error:
            raise InvalidEvent(f"{self._job}, key {key!r}: {error}") from error.__cause__
        self._check_size(encoded, "an event", key)
        return encoded

    def load_event(self, data: JSON) -> Any:
        """An event out of JSON; raises `InvalidEvent`."""
        try:
            return self._event.read(data)
        except ValidationError as error:
            raise InvalidEvent(self._event.describe(error, data)) from None

    def load_events(self, data: Sequence[JSON]) -> list[Any]:
        """Events out of JSON; an `InvalidEvent` in the place of each that does not fit."""
        try:
            # All at once costs a third.
            return self._events.validate_json(dumps(data))
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
        return self._dump(self._state, state, key, "a state")

    def show_state(self, state: Any, key: str) -> JSON:
        """A state of any size as JSON; raises `InvalidState`."""
        return from_json(self._write(self._state, state, key))

    def limit_state(self, data: JSON, key: str) -> JSON:
        """The JSON of a state itself; raises `PayloadTooLarge` over 512 KB."""
        encoded = dumps(data)
        self._check_size(encoded, "a state", key)
        if too_deep(encoded):
            raise InvalidState(f"{self._job}, key {key!r}: state {TOO_DEEP}")
        return data

    def dump_reply(self, reply: Any, key: str) -> JSON:
        """A reply as JSON; raises `InvalidState` or, over 256 KB, `PayloadTooLarge`.

        What a job without a reply type returns is nobody's.
        """
        return self._dump(self._reply, reply, key, "a reply") if self._replies else None

    def load_reply(self, data: JSON) -> Any:
        """A reply out of an instance's answer; raises `InvalidState`."""
        try:
            return self._reply.read(data)
        except ValidationError as error:
            raise InvalidState(
                f"{self._job}: the reply does not fit the reply type of this class: "
                f"{self._reply.describe(error, data)}. The worker's class may be another."
            ) from None

    def check_state(self, state: Any, key: str) -> JSON:
        """A state that a caller gave, judged and as JSON; raises as `dump_state`."""
        try:
            judged = self._state.judge(state)
        except UnreadableError as error:
            raise InvalidState(f"{self._job}, key {key!r}: {error}") from error.__cause__
        return self.dump_state(judged, key)

    def load_state(self, job: "Job", data: JSON, version: int) -> Any:
        """A stored state, upgraded where the class is newer.

        Raises:
            StateMismatch: it does not fit the state type.
        """
        if version != job.state_version:
            data = call_plain(job.upgrade_state, version, data)
        try:
            return self._state.read(data)
        except ValidationError as error:
            raise StateMismatch(
                f"{self._job}: the stored state (version {version}) does not fit: "
                f"{self._state.describe(error, data)}. Raise state_version and write upgrade_state."
            ) from None
        except PydanticSerializationError as error:
            raise StateMismatch(
                f"{self._job}: upgrade_state gave what JSON cannot hold (version {version})"
            ) from error

    def read_state(self, data: JSON) -> Any:
        """A state out of an instance's answer; raises `StateMismatch`."""
        try:
            return self._state.read(data)
        except ValidationError as error:
            raise StateMismatch(
                f"{self._job}: the instance's state does not fit: "
                f"{self._state.describe(error, data)}"
            ) from None

    def _dump(self, form: Form, value: Any, key: str, what: str) -> JSON:
        encoded = self._write(form, value, key)
        self._check_size(encoded, what, key)
        return from_json(encoded)

    def _write(self, form: Form, value: Any, key: str) -> bytes:
        try:
            return form.write(value)
        except UnreadableError as error:
            raise InvalidState(f"{self._job}, key {key!r}: {error}") from error.__cause__

    def _check_size(self, encoded: bytes, what: str, key: str) -> None:
        limit, length = _LIMITS[what], len(encoded)
        if length > limit:
            raise PayloadTooLarge(
                f"{self._job}, key {key!r}: {what} has {length:,} bytes as JSON, "
                f"the limit is {limit:,}. Keep a reference and store the rest elsewhere."
            )
        if length > limit // 2:
            warn_once(f"{self._job}: {what} has {length:,} bytes of at most {limit:,}")


@lru_cache(maxsize=1024)
def codec_of(job: type["Job"]) -> Codec:
    """The codec of a job class, built once; raises `DefinitionError`."""
    return Codec(job)


def _form(job: type["Job"], kind: Any, what: str) -> Form:
    adapter = _adapter(job, kind, what)
    faults = faults_of_type(adapter.core_schema, what)  # type: ignore[arg-type]
    if faults:
        raise DefinitionError(f"{job.name}: the {what} type cannot be kept: {'; '.join(faults)}")
    return Form(adapter, what)


def _adapter(job: type["Job"], kind: Any, what: str) -> TypeAdapter[Any]:
    try:
        adapter = TypeAdapter(kind)
        if not adapter.pydantic_complete:
            names = vars(sys.modules.get(job.__module__, sys))
            adapter.rebuild(raise_errors=True, _types_namespace=names)
    except PydanticUndefinedAnnotation as error:
        raise DefinitionError(
            f"{job.name}: the {what} type {_shown(kind)} names {error.name!r}, which is not "
            f"defined; define or import it in the type's module, before the job is used"
        ) from error
    except (PydanticSchemaGenerationError, PydanticUserError, NameError, TypeError) as error:
        raise DefinitionError(f"{job.name}: pydantic cannot handle {kind!r}: {error}") from error
    return adapter


def _shown(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or repr(kind)
