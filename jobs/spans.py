"""Spans of time that users give: how they write them, and how long they may be."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

LONGEST = timedelta(days=3653)
"""Ten years. Much longer ones run out of what a date, a timer or the server can hold."""

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[smhdw])")


def parse_span(text: str) -> timedelta:
    """Read `5m`, `1h30m`, `90s`, `500ms` or `2d`. Raises ValueError for anything else."""
    compact = "".join(text.split())
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is no span of time; write it as 5m, 1h30m, 90s or 2d")
    return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())


def is_span(value: object) -> bool:
    """Whether a value is a positive span of at most the longest."""
    return isinstance(value, timedelta) and timedelta() < value <= LONGEST


def cut(span: timedelta) -> timedelta:
    """The nearest span from none to the longest."""
    return min(max(span, timedelta()), LONGEST)


def later(moment: datetime, seconds: float) -> datetime:
    """A time so long after another; the last one there is where none can be that late."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


# What history holds may be anything: other versions and other SDKs wrote it, or a hostile client.

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - 2 * LONGEST


def _as_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is too far away") from error


def _usable(at: datetime) -> datetime:
    if not _EARLIEST <= at <= _LATEST:
        raise ValueError("the time is too far away")
    return at


def _cut_seconds(seconds: float) -> float:
    if math.isnan(seconds):
        raise ValueError("it is no number of seconds")
    return min(max(seconds, 0.0), LONGEST.total_seconds())


AnyTime = Annotated[AwareDatetime, AfterValidator(_as_utc)]
"""A time that user code gave, however far away."""

Moment = Annotated[AnyTime, AfterValidator(_usable)]
"""When something happened: a time to count from, and to make an event's ID of."""

Span = Annotated[float, Field(ge=0, le=LONGEST.total_seconds(), allow_inf_nan=False)]
"""Seconds, as a definition may give them."""

Pause = Annotated[float, AfterValidator(_cut_seconds)]
"""Seconds to wait, cut to what can be waited for."""
