"""The trace that an event belongs to, as W3C Trace Context writes it: its `traceparent`.

It travels as a text beside the event. Workflows carry it and never look at what it means.
"""

import re

from .values import JSON

MOST_LINKS = 128
"""Of one run: what OpenTelemetry keeps of a span by default. More need not be carried."""

_FORM = re.compile(
    r"(?!ff)[0-9a-f]{2}(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)


def read_traceparent(value: JSON) -> str | None:
    """What a caller sent, in the form of version 00; None where it is no traceparent.

    Later versions may append fields, which are left out.
    """
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found[2] is not None and found[0].startswith("00")):
        return None
    return f"00{found[1]}"


def is_sampled(traceparent: str) -> bool:
    """Whether the trace is kept, as its caller has decided."""
    return int(traceparent[-2:], 16) & 1 == 1
