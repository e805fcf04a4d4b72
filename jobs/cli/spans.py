"""Spans of time as people write them, and moments as they read them."""

from datetime import UTC, datetime, timedelta

from ..spans import parse_span as parse_span

_CENTURY = timedelta(days=36_525)


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
