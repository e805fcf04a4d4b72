"""What goes over the wire: the JSON types, and one way to write an event as bytes."""

import json
from typing import TypeAlias

from pydantic import JsonValue

JSON: TypeAlias = JsonValue
"""Any JSON value."""

WireEvent: TypeAlias = dict[str, JsonValue]
"""One tracking event as it is sent: a JSON object with camelCase names."""


def encode(event: WireEvent) -> bytes:
    """The event as compact JSON.

    A lone surrogate, which an error text can hold, becomes `?`: UTF-8 has no place for it.
    Raises `ValueError` if it is not JSON: NaN, a foreign type, a cycle.
    """
    try:
        text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return text.encode("utf-8", "replace")
