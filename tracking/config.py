"""What a worker is told about tracking."""

import copy
import inspect
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import get_args

from pydantic import ValidationError

from durable_jobs.arguments import check_name, check_time
from durable_jobs.errors import InvalidArgument
from durable_jobs.faults import faults_of
from durable_jobs.protocol import EventTypes, TrackingIdentity

from .events import check_event
from .sinks.base import Sink
from .sinks.memory import NoopSink
from .wire import WireEvent, encode

logger: logging.Logger = logging.getLogger(__name__)

WITHHELD = "withheld: before_send failed"

_IDENTITY = ("eventId", "sequence", "executionId", "type")
_FREE_TEXTS = ("input", "preExecutionState", "reason", "note")
# In these the reason is one of a few fixed words that readers rely on.
_FIXED_REASON = frozenset({"job.retryExhausted", "debounce.flushed"})


class _NoEvent(ValueError):
    """Says what keeps a JSON object from being a tracking event, without quoting it."""


@dataclass(slots=True)
class _Tally:
    withheld: int = 0


@dataclass(frozen=True)
class Tracking:
    """Where a worker's tracking events go and what they say about the worker.

    `env` and `service_key` are sent with every event. `before_send` gets a copy of each event and
    returns what may leave, which has to be an event of that type still: its required fields, with
    values of their types. One made in an attempt it gets twice: first before it is stored, with the
    sequence 1, as its place is not known yet. What could not be sent for `give_up_after` is dropped
    and counted. `types="core"` is for collectors that do not know `job.paused` and `job.resumed`:
    these are not made then, so that the sequences of the others have no gap.

    Raises:
        InvalidArgument: an argument has a wrong type or value; it is a ValueError and a TypeError.
    """

    sink: Sink
    env: str = ""
    service_key: str = ""
    types: EventTypes = "all"
    before_send: Callable[[WireEvent], WireEvent] | None = None
    give_up_after: timedelta = timedelta(hours=24)
    _tally: _Tally = field(default_factory=_Tally, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.sink, type) or not callable(getattr(self.sink, "send", None)):
            # An address is not shown: it may hold credentials.
            raise InvalidArgument(
                f"Tracking: sink is a sink, as in Tracking(HttpSink(url)), "
                f"not a {type(self.sink).__name__}"
            )
        for name in ("env", "service_key"):
            if (value := getattr(self, name)) != "":
                check_name(value, f"Tracking: {name}")
        if self.before_send is not None and not callable(self.before_send):
            raise InvalidArgument("Tracking: before_send is a function that takes an event")
        check_time(self.give_up_after, "Tracking: give_up_after")
        if self.types not in get_args(EventTypes):
            raise InvalidArgument(f"Tracking: types must be 'all' or 'core', not {self.types!r}")

    @property
    def enabled(self) -> bool:
        """False where events would go nowhere, so that none need be made."""
        return not isinstance(self.sink, NoopSink)

    @property
    def identity(self) -> TrackingIdentity:
        """What it says about the worker, as instances record it."""
        return TrackingIdentity(env=self.env, service_key=self.service_key, types=self.types)

    @property
    def withheld(self) -> int:
        """How often free texts were withheld because `before_send` failed."""
        return self._tally.withheld

    def redact(self, event: WireEvent) -> WireEvent:
        """The event as `before_send` lets it leave; the argument is not changed.

        Never raises and never drops one: where `before_send` fails, the free texts are withheld.
        `eventId`, `sequence`, `executionId` and `type` stay what they were.
        """
        if self.before_send is None:
            return event
        try:
            redacted = _with_identity(_as_json(self.before_send(copy.deepcopy(event))), event)
            _check(redacted)
        except BaseException as error:  # code of the user's, which awaits nothing
            self._report(error)
            return _withhold(event)
        return redacted

    def _report(self, error: BaseException) -> None:
        self._tally.withheld += 1
        if self._tally.withheld == 1:
            # Of the user's own error only the type: the text could quote what was to be redacted.
            reason = f"no event: {error}" if isinstance(error, _NoEvent) else type(error).__name__
            logger.error(
                "before_send failed (%s): the texts of such events are withheld;"
                " further failures are counted, not logged",
                reason,
            )


def _as_json(result: object) -> WireEvent:
    if inspect.iscoroutine(result):
        result.close()
    if not isinstance(result, dict):
        raise TypeError(f"before_send returned {type(result).__name__}, not a dict")
    return json.loads(encode(result))  # pyright: ignore[reportUnknownArgumentType]


def _check(event: WireEvent) -> None:
    try:
        check_event(event)
    except ValidationError as error:
        raise _NoEvent("; ".join(faults_of(error))) from None
    except ValueError as error:
        raise _NoEvent(str(error)) from None


def _with_identity(redacted: WireEvent, event: WireEvent) -> WireEvent:
    kept = {name: value for name, value in redacted.items() if name not in _IDENTITY}
    return {**{name: event[name] for name in _IDENTITY if name in event}, **kept}


def _withhold(event: WireEvent) -> WireEvent:
    hidden = set(_FREE_TEXTS)
    if event.get("type") in _FIXED_REASON:
        hidden.remove("reason")
    kept = {name: value for name, value in event.items() if name not in hidden}
    if "error" in kept:
        kept["error"] = {"message": WITHHELD}
    return kept
