"""Traceparents for tests."""

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def traceparent(number: int, *, sampled: bool = True) -> str:
    """One of many."""
    return f"00-{number:032x}-{number:016x}-0{int(sampled)}"
