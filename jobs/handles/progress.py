"""The progress of a run, as its pending activity's heartbeats tell it."""

from typing import Any, cast

from temporalio.client import WorkflowExecutionDescription
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from ..wire import JSON, from_raw


async def progress_of(found: WorkflowExecutionDescription) -> JSON:
    """What the run under way last said of its progress; None where it said nothing."""
    for pending in found.raw_description.pending_activities:
        mark = await _mark(list(pending.heartbeat_details.payloads), found.data_converter)
        if mark.get("progress"):
            return mark["progress"]
    return None


async def _mark(payloads: list[Any], converter: DataConverter) -> dict[str, Any]:
    if not payloads:
        return {}
    if converter.payload_codec is not None:
        payloads = await converter.payload_codec.decode(payloads)
    try:
        mark = from_raw(RawValue(payloads[0]))
    except ValueError:
        # A worker whose payload converter does not write JSON.
        return {}
    return cast("dict[str, Any]", mark) if isinstance(mark, dict) else {}
