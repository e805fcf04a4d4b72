"""Judges what callers give, where it enters, and says what is expected.

A wrong argument is refused before anything is sent, so that it hurts no caller but its own.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

from .errors import InvalidArgument, InvalidEvent
from .wire import MAX_EVENT_ID, MAX_TEXT

LONGEST = timedelta(days=3_650)
"""Of a time limit: beyond it, sums of times overflow."""

_SINGLE = (str, bytes)


def check_text(value: object, what: str) -> None:
    """Raise `InvalidArgument` where a note or a reason is none that the server takes.

    `what` names it, as in `debounce:digest:alice: the note`.
    """
    fault = _fault_of_text(value, MAX_TEXT)
    if value is not None and fault is not None:
        raise InvalidArgument(f"{what} {fault}")


def check_event_id(value: object, where: str) -> None:
    """Raise `InvalidEvent` where an event's id is none."""
    fault = _fault_of_text(value, MAX_EVENT_ID) or ("is empty" if value == "" else None)
    if value is not None and fault is not None:
        raise InvalidEvent(f"{where}: the id {fault}")


def check_name(value: object, what: str) -> None:
    """Raise `InvalidArgument` where a required name is no text, or empty."""
    fault = _fault_of_text(value, MAX_TEXT) or (None if value else "is empty")
    if fault is not None:
        raise InvalidArgument(f"{what} {fault}")


def check_time(value: object, what: str) -> None:
    """Raise `InvalidArgument` where a time limit is no positive timedelta up to ten years."""
    if not isinstance(value, timedelta):
        raise InvalidArgument(
            f"{what} is a timedelta, such as timedelta(seconds=30); it is {shown(value)}"
        )
    if not timedelta() < value <= LONGEST:
        raise InvalidArgument(
            f"{what} lies between 0 and {LONGEST.days:,} days; it is {shown(value)}"
        )


def many(values: object, what: str) -> list[Any]:
    """Several values as a list; raises `InvalidArgument` where it is a single one."""
    # A text is iterable too, and hardly ever meant as its characters.
    if isinstance(values, _SINGLE) or not isinstance(values, Iterable):
        raise InvalidArgument(f"{what} are a list or another iterable, not {shown(values)}")
    return list(cast("Iterable[Any]", values))


def shown(value: object) -> str:
    """A value for a message, in short."""
    text = ascii(value) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _fault_of_text(value: object, most: int) -> str | None:
    if not isinstance(value, str):
        return f"is a text, not {shown(value)}"
    if len(value) > most:
        return f"has {len(value):,} characters, at most {most:,}"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return f"is no Unicode text: {shown(value)} holds a surrogate"
    return None
