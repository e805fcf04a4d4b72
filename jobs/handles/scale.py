"""Keeps callers from sending an instance more than Temporal bears.

The server ends a workflow whose history passes 50 MB or 51,200 events, and all that waits in it is
lost; it refuses nothing before, but the 10,001st signal of a run and its 2,001st update. So whoever
sends much asks, now and then, how large the history has become.
"""

from collections import OrderedDict

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from ..errors import Busy

LOOK_BYTES = 2 * 1024 * 1024
"""Sent by one client to one instance between two looks."""

MAX_HISTORY_BYTES = 25 * 1024 * 1024
"""Half of what ends a workflow: folding what came takes room too, and there are other clients."""

MAX_HISTORY_EVENTS = 40_000

_LOOK_SENDS = 500
"""Small ones, between two looks."""

_KNOWN = 1_000


class NotYet(Busy):
    """A `Busy` that is over once the instance goes on in a new run or life of its workflow."""


class Scale:
    """Weighs what one client sends, by instance."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, int] = OrderedDict()
        """Since the last look; of the instances sent to most recently."""

    async def weigh(self, handle: WorkflowHandle[object, object], size: int) -> None:
        """Note that so many bytes are about to be sent.

        Raises:
            Busy: the instance must first work off what it has.
        """
        size = max(size, LOOK_BYTES // _LOOK_SENDS)
        sent = self._sent.pop(handle.id, 0) + size
        if sent > LOOK_BYTES:
            # Where it raises, the next one looks again.
            self._sent[handle.id] = sent
            await _look(handle)
            sent = size
        self._sent[handle.id] = sent
        if len(self._sent) > _KNOWN:
            self._sent.popitem(last=False)


async def _look(handle: WorkflowHandle[object, object]) -> None:
    try:
        found = await handle.describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return
        raise
    info = found.raw_description.workflow_execution_info
    size, length = info.history_size_bytes, info.history_length
    if size > MAX_HISTORY_BYTES or length > MAX_HISTORY_EVENTS:
        raise NotYet(
            f"{handle.id} takes no more at the moment: the history of its run has {size:,} bytes "
            f"of {MAX_HISTORY_BYTES:,} and {length:,} events of {MAX_HISTORY_EVENTS:,}; "
            "nothing accepted is lost, try again later"
        )
