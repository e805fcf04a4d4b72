"""What continue-as-new carries, made small: many small events are much alike."""

import zlib
from base64 import b64decode, b64encode
from typing import cast

import pydantic_core

from .values import JSON

PLAIN_BYTES = 128 * 1024
"""What is larger travels compressed."""


def pack(text: bytes, most: int) -> JSON | None:
    """JSON text as it travels; None where that takes more than `most` bytes."""
    if len(text) <= PLAIN_BYTES:
        return pydantic_core.from_json(text)
    packed = b64encode(zlib.compress(text, level=1)).decode()
    return {"zlib": packed} if len(packed) <= most else None


def unpack(value: JSON) -> JSON:
    """What was packed."""
    given = cast("dict[str, JSON]", value)
    if "zlib" not in given:
        return value
    return pydantic_core.from_json(zlib.decompress(b64decode(given["zlib"])))
