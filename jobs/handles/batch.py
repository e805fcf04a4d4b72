"""Lets concurrent calls for one instance share a request."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from temporalio.service import RPCError, RPCStatusCode

from ..errors import Busy
from ..loops import PerLoop
from ..wire import dumps
from .limits import TimeLimit
from .scale import NotYet

MAX_EVENTS = 1_000
MAX_BYTES = 512 * 1024
"""Of one request, which may have 2 MB; a codec may make it larger."""

_PATIENCE = 5.0
_T = TypeVar("_T")

# The server takes 10 updates at a time; more of them collapse in the SDK's retry backoff.
_UPDATES_IN_FLIGHT = 4
_Slots = WeakValueDictionary[str, asyncio.Semaphore]
_slots: PerLoop[_Slots] = PerLoop(_Slots)

Lane = tuple[str, str]
"""An instance's ID and what is asked of it."""


@dataclass(eq=False, slots=True)
class Item:
    """One event of a request."""

    data: bytes
    """The event as JSON."""

    id: str | None
    answer: asyncio.Future[Any]
    """Its own, so that a caller that is cancelled hurts no other."""

    limit: TimeLimit | None = None
    """The time of a call that waits for a worker."""

    priority: int = 0
    traceparent: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to say of it but the event."""
        return not self.id and not self.priority and not self.traceparent

    @property
    def json(self) -> bytes:
        """As it stands in a batch."""
        event_id = b',"id":' + dumps(self.id) if self.id else b""
        priority = b',"priority":' + dumps(self.priority) if self.priority else b""
        parent = b',"traceparent":' + dumps(self.traceparent) if self.traceparent else b""
        return b'{"data":' + self.data + event_id + priority + parent + b"}"


Call = Callable[[list[Item]], Awaitable[Sequence[Any]]]
"""Sends a batch; gives the answer, or the error, for each of its events."""


class Batcher:
    """Sends at once while nothing is under way; what comes meanwhile is the next request.

    It keeps an event no longer than its caller waits, and nothing where nobody does.
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, _Requests] = {}

    async def share_all(self, lane: Lane, call: Call, items: Sequence[Item]) -> None:
        """Send many, in order, a request's worth at a time; raises the first error."""
        for start in range(0, len(items), MAX_EVENTS):
            part = items[start : start + MAX_EVENTS]
            await asyncio.gather(*(self.share(lane, call, item) for item in part))

    def share(self, lane: Lane, call: Call, item: Item) -> asyncio.Future[Any]:
        """Send one event; the answer for it alone is that of the future."""
        requests = self._lanes.get(lane)
        if requests is None:
            requests = self._lanes[lane] = _Requests(call, lambda: self._lanes.pop(lane))
        requests.waiting.append(item)
        return item.answer

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._lanes


class _Requests:
    """One lane: one request at a time, each with what waited when it left."""

    def __init__(self, call: Call, over: Callable[[], Any]) -> None:
        self._call = call
        self._over = over
        self.waiting: deque[Item] = deque()
        # Begins once the callers that are ready to run have put their events here too.
        self._task = asyncio.create_task(self._send_all())
        self._task.add_done_callback(self._ended)

    async def _send_all(self) -> None:
        while batch := self._next():
            await self._send(batch)
        self._over()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Where the event loop was closed under it, nobody is left to be answered."""
        if task.cancelled():
            self._over()
            for item in self.waiting:
                item.answer.cancel()

    def _next(self) -> list[Item]:
        batch: list[Item] = []
        room = MAX_BYTES
        waiting = self.waiting
        while waiting and len(batch) < MAX_EVENTS:
            # An event whose caller was cancelled before it left is not sent.
            if not waiting[0].answer.done():
                room -= len(waiting[0].data)
                if batch and room < 0:
                    break
                batch.append(waiting[0])
            waiting.popleft()
        return batch

    async def _send(self, batch: list[Item]) -> None:
        try:
            answers = await self._call(batch)
        except asyncio.CancelledError:
            for item in batch:
                item.answer.cancel()
            raise
        except Exception as error:
            if len(batch) > 1 and _is_refusal(error):
                await self._send(batch[: len(batch) // 2])
                await self._send(batch[len(batch) // 2 :])
                return
            answers = [error] * len(batch)
        for item, answer in zip(batch, answers, strict=True):
            # A caller that was cancelled has cancelled its future.
            if item.answer.done():
                continue
            if isinstance(answer, Exception):
                item.answer.set_exception(answer)
            else:
                item.answer.set_result(answer)


def _is_refusal(error: Exception) -> bool:
    """Whether nothing of a request was taken because of what stands in it."""
    return isinstance(error, RPCError) and error.status == RPCStatusCode.INVALID_ARGUMENT


def update_slot(instance_id: str) -> asyncio.Semaphore:
    """Held while an update of this event loop is in flight to an instance."""
    return _slots.get().setdefault(instance_id, asyncio.Semaphore(_UPDATES_IN_FLIGHT))


def mark(items: Sequence[Item], traceparent: str | None) -> None:
    """Have each event bring the trace that it belongs to."""
    if traceparent is not None:
        for item in items:
            item.traceparent = traceparent


def batch_json(items: Sequence[Item], *, each: bool = False) -> bytes:
    """The argument of `add_batch` and the like; `each` asks for an answer to each event.

    The events were judged here, so that the instance need not ask a worker to.
    """
    events = b",".join(item.json for item in items)
    return b'{"events":[' + events + (b'],"each":true,"judged":true}' if each else b"]}")


def run_is_full(error: RPCError) -> bool:
    """Whether the workflow's current run takes no more signals (10,000) or updates (2,000)."""
    return any(limit in error.message for limit in ("workflow execution limit", "total number of"))


async def patiently(send: Callable[[], Awaitable[_T]]) -> _T:
    """Try again where a run is full or ending: as soon as it can, it makes way for the next one.

    Raises:
        Busy: it did not within 5 seconds, those of the calls themselves aside.
    """
    left, wait = _PATIENCE, 0.05
    while True:
        try:
            return await send()
        except Busy as busy:
            cause = busy.__cause__
            full = isinstance(cause, RPCError) and run_is_full(cause)
            if not (full or isinstance(busy, NotYet)) or wait > left:
                raise
        await asyncio.sleep(wait)
        left -= wait
        wait = min(2 * wait, 1.0)
