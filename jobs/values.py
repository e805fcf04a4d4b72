"""JSON values: how they are written and weighed, and how large they may be."""

import re
from typing import Any

import pydantic_core

MAX_EVENT_BYTES = 256 * 1024
MAX_STATE_BYTES = 512 * 1024
MAX_EVENT_ID = 300
MAX_PRIORITY = 1_000_000
"""Of a worker pool's event, and as much below 0."""

MAX_TEXT = 1_000
"""Characters that are kept of a reason or a note."""

MAX_DEPTH = 100
"""Of lists and objects inside each other. Readers take 200, and we wrap values in some of ours."""

JSON = Any
"""A JSON value as Python has it: dict, list, str, int, float, bool or None."""

_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)


def dumps(value: JSON) -> bytes:
    """A JSON value, or a pydantic model by its aliases, as compact UTF-8 bytes.

    JSON has no NaN and no infinity: they become null.
    """
    return pydantic_core.to_json(value, by_alias=True, inf_nan_mode="null")


def as_unicode(text: str) -> str:
    """A text as UTF-8 can hold it: a lone surrogate, as of an odd file name, becomes `?`."""
    return text.encode("utf-8", "replace").decode()


def size(value: JSON) -> int:
    """Bytes that a value takes as JSON."""
    return len(dumps(value))


def too_deep(data: bytes, most: int = MAX_DEPTH) -> bool:
    """Whether JSON text has more than so many lists and objects inside each other."""
    if len(data) <= most or data.count(b"[") + data.count(b"{") <= most:
        return False
    depth = 0
    for found in _BRACKETS.finditer(data):
        if found[0] in b"[{":
            depth += 1
            if depth > most:
                return True
        elif found[0] in b"]}":
            depth -= 1
    return False
