"""When tests take place, and how they say how long."""

from datetime import UTC, datetime, timedelta
from typing import Any

from durable_jobs.arguments import shown
from durable_jobs.errors import InvalidArgument
from durable_jobs.spans import parse_span

MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""When a test begins that says nothing else: Monday 5 January 2026 at 9:00 UTC."""


def check_moment(moment: object, name: str) -> None:
    """Raise `InvalidArgument` where it is no datetime with a time zone."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidArgument(f"{name} is a datetime with a time zone, not {shown(moment)}")


def seconds_of(span: timedelta | str, name: str) -> float:
    """A span in seconds, also as text; raises `InvalidArgument`."""
    found: Any = span
    if isinstance(span, str):
        try:
            found = parse_span(span)
        except ValueError as error:
            raise InvalidArgument(f"{name}: {error}") from error
    if not isinstance(found, timedelta) or found < timedelta():
        raise InvalidArgument(
            f"{name} takes a timedelta, or text such as '5m' or '1h30m', not {shown(span)}"
        )
    return found.total_seconds()
