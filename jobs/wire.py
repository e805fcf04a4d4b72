"""How values cross Temporal: as plain JSON payloads, made and read here.

The user's payload converter is not used, so that any SDK can drive a job; payloads go as
`RawValue`, which every converter passes through, and the payload codec applies to them.
"""

from typing import TypeVar

import pydantic_core
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from .values import JSON as JSON
from .values import MAX_DEPTH as MAX_DEPTH
from .values import MAX_EVENT_BYTES as MAX_EVENT_BYTES
from .values import MAX_EVENT_ID as MAX_EVENT_ID
from .values import MAX_STATE_BYTES as MAX_STATE_BYTES
from .values import MAX_TEXT as MAX_TEXT
from .values import as_unicode as as_unicode
from .values import dumps as dumps
from .values import size as size
from .values import too_deep as too_deep

_METADATA = {"encoding": b"json/plain"}
_Model = TypeVar("_Model", bound=BaseModel)


def to_raw(value: JSON) -> RawValue:
    """A value as a payload that every payload converter passes through."""
    return json_to_raw(dumps(value))


def json_to_raw(data: bytes) -> RawValue:
    """JSON that is written already, as a payload."""
    return RawValue(Payload(metadata=_METADATA, data=data))


class Undecodable(Exception):
    """A payload has an encoding that only a payload codec makes, which this worker lacks.

    No `ValueError`: nothing is wrong with the payload. A workflow that meets it fails its task, and
    waits for a worker with the codec.
    """


_OWN_BINARY = {"binary/plain", "binary/protobuf"}
"""Temporal's own encodings that are binary. By convention a codec's begin in the same way."""


def from_raw(raw: RawValue) -> JSON:
    """The JSON value in a payload.

    Raises:
        ValueError: the payload is not JSON, with the encoding it has.
        Undecodable: it needs a payload codec.
    """
    encoding = raw.payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding == "binary/null":
        return None
    if encoding.startswith("binary/") and encoding not in _OWN_BINARY:
        raise Undecodable(
            f"a payload is encoded as {encoding!r}: start a worker with the payload codec that its "
            "caller has; nothing is lost until then"
        )
    if not encoding.startswith("json/"):
        raise ValueError(f"payload encoding is {encoding or 'missing'}, json/plain is expected")
    try:
        return pydantic_core.from_json(raw.payload.data, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError("payload is not valid JSON") from error


def model_from_raw(model: type[_Model], raw: RawValue) -> _Model:
    """A pydantic model out of a payload."""
    return model.model_validate_json(raw.payload.data)
