"""Judges what callers give, where it enters, and says what is expected.

A wrong argument is refused before anything is sent, so that it hurts no caller but its own.
"""

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from .checks import is_whole
from .errors import InvalidArgument, InvalidEvent, InvalidKey
from .spans import LONGEST
from .values import MAX_EVENT_BYTES, MAX_EVENT_ID, MAX_TEXT

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


def check_whole(value: object, what: str, least: int, most: int) -> None:
    """Raise `InvalidArgument` where a number is not whole, or out of its range."""
    if not is_whole(value) or not least <= cast("int", value) <= most:
        raise InvalidArgument(
            f"{what} is a whole number from {least:,} to {most:,}; it is {shown(value)}"
        )


def check_partition_key(value: object, job: str) -> None:
    """Raise `InvalidKey` where a partition key is none."""
    fault = _fault_of_text(value, MAX_EVENT_BYTES) or (None if value else "is empty")
    if fault is not None:
        raise InvalidKey(
            f"{job}: the partition key {fault}; leave it out where the order does not matter"
        )


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


def moment_of(when: object, clock: Callable[[], datetime], what: str) -> datetime:
    """When something is due that a handler sets, in UTC; `clock` is the one that it goes by.

    A datetime that has passed is at once.

    Raises:
        InvalidArgument: it is neither an aware datetime nor a timedelta, or out of range.
    """
    if isinstance(when, timedelta):
        if not timedelta() <= when <= LONGEST:
            raise InvalidArgument(f"{what} takes a timedelta from 0 to 10 years; it got {when}")
        return (clock() + when).astimezone(UTC)
    if not isinstance(when, datetime):
        raise InvalidArgument(
            f"{what} takes an aware datetime, or a timedelta such as timedelta(minutes=5); "
            f"it got {shown(when)}"
        )
    if when.utcoffset() is None:
        raise InvalidArgument(f"{what} needs an aware datetime, such as datetime.now(UTC)")
    # Their difference exists also where the same moment in UTC does not.
    now = datetime.now(UTC)
    if when - now > LONGEST:
        raise InvalidArgument(f"{what} takes a time within the next 10 years; it got {when}")
    return max(when, now - LONGEST).astimezone(UTC)


def check_number(value: object, what: str) -> None:
    """Raise `InvalidArgument` where a value is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidArgument(f"{what} is a finite number, not {shown(value)}")


def check_is_text(value: object, what: str) -> None:
    """Raise `InvalidArgument` where a value is neither a text nor None."""
    if value is not None and not isinstance(value, str):
        raise InvalidArgument(f"{what} is a text, not {shown(value)}")


def check_kind(value: object, kind: type, what: str, example: str) -> None:
    """Raise `InvalidArgument` where a value is neither of a class nor None."""
    if value is not None and not isinstance(value, kind):
        # Not shown: an address may hold credentials.
        given = type(value).__name__
        raise InvalidArgument(f"{what} is a {kind.__name__}, as in {example}, not a {given}")


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
