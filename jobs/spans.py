"""How long a span of time may be that users give."""

from datetime import timedelta

LONGEST = timedelta(days=3653)
"""Ten years. Much longer ones run out of what a date, a timer or the server can hold."""


def is_span(value: object) -> bool:
    """Whether a value is a positive span of at most the longest."""
    return isinstance(value, timedelta) and timedelta() < value <= LONGEST


def cut(span: timedelta) -> timedelta:
    """The nearest span from none to the longest."""
    return min(max(span, timedelta()), LONGEST)
