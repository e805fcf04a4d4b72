"""Spans of time as people write them, and moments as they read them."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_CENTURY = timedelta(days=36_525)
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[smhdw])")


def parse_span(text: str) -> timedelta:
    """Read `5m`, `1h30m`, `90s`, `500ms` or `2d`. Raises ValueError for anything else."""
    compact = "".join(text.split())
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is no span of time; write it as 5m, 1h30m, 90s or 2d")
    return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())


def parse_duration(option: str, text: str) -> timedelta:
    """Read the value of an option, of at most a century. Raises ValueError, which names it."""
    try:
        span = parse_span(text)
    except (ValueError, OverflowError):
        span = timedelta()
    if not timedelta() < span <= _CENTURY:
        raise ValueError(f"{option} {text!r} must be a time of more than 0, such as 24h or 7d")
    return span


def span_text(span: timedelta) -> str:
    """A span in its two largest units, such as `1 h 30 min`."""
    seconds = abs(span.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    left = round(seconds)
    shown: list[str] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            shown.append(f"{count} {name}")
        elif shown:
            break
    return " ".join(shown[:2])


def moment_text(moment: datetime, now: datetime | None = None) -> str:
    """A moment in UTC, and how far away it is."""
    away = moment - (now or datetime.now(UTC))
    far = f"in {span_text(away)}" if away > timedelta() else f"{span_text(away)} ago"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({far})"
