"""Times as events write them, and as they are kept: whole milliseconds since 1970."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def read_moment(event: Mapping[str, object], name: str) -> datetime:
    """The time that a field names as RFC 3339 does. Raises ValueError, which names the field."""
    value = event.get(name)
    wrong = ValueError(f"{name}: must be a text such as 2026-01-02T03:04:05.678Z")
    if not isinstance(value, str) or not _WRITTEN.fullmatch(value):
        raise wrong
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise wrong from None


def milliseconds(moment: datetime) -> int:
    """Since 1970, rounded down, of an aware time."""
    return (moment - _EPOCH) // _MILLISECOND
