"""How values cross Temporal: plain JSON payloads, made and read here, and their size limits.

The user's payload converter is not used, so that any SDK can drive a job; payloads go as
`RawValue`, which every converter passes through, and the payload codec applies to them.
"""

import re
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

MAX_EVENT_BYTES = 256 * 1024
MAX_STATE_BYTES = 512 * 1024
MAX_EVENT_ID = 300
MAX_TEXT = 1_000
"""Characters that are kept of a reason or a note."""

MAX_DEPTH = 100
"""Of lists and objects inside each other. Readers take 200, and we wrap values in some of ours."""

JSON = Any
"""A JSON value as Python has it: dict, list, str, int, float, bool or None."""

_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)
_METADATA = {"encoding": b"json/plain"}
_Model = TypeVar("_Model", bound=BaseModel)


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


def to_raw(value: JSON) -> RawValue:
    """A value as a payload that every payload converter passes through."""
    return json_to_raw(dumps(value))


def json_to_raw(data: bytes) -> RawValue:
    """JSON that is written already, as a payload."""
    return RawValue(Payload(metadata=_METADATA, data=data))


def from_raw(raw: RawValue) -> JSON:
    """The JSON value in a payload.

    Raises:
        ValueError: the payload is not JSON, with the encoding it has.
    """
    encoding = raw.payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding == "binary/null":
        return None
    if not encoding.startswith("json/"):
        raise ValueError(f"payload encoding is {encoding or 'missing'}, json/plain is expected")
    try:
        return pydantic_core.from_json(raw.payload.data, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError("payload is not valid JSON") from error


def model_from_raw(model: type[_Model], raw: RawValue) -> _Model:
    """A pydantic model out of a payload."""
    return model.model_validate_json(raw.payload.data)
