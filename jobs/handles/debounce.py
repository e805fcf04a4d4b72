"""The handle of a debounce instance."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Generic

from temporalio.client import WorkflowUpdateFailedError
from typing_extensions import TypeVar

from ..arguments import many
from ..definitions import DebounceJob
from ..errors import InvalidArgument, InvalidEvent, JobsError
from ..status import AddReceipt
from ..wire import JSON, json_to_raw
from .base import Connection, Handle
from .batch import Item, Lane, batch_json, patiently, update_slot
from .instance import Unanswered
from .limits import ANSWER_TIME

Event = TypeVar("Event")
State = TypeVar("State")


class DebounceHandle(Handle[State], Generic[Event, State]):
    """Adds events to an instance and controls it."""

    workflow = "DebounceJob"

    def __init__(
        self, connection: Connection, job: type[DebounceJob[Event, State]], key: str
    ) -> None:
        super().__init__(connection, job, key)

    async def add(self, event: Event, id: str | None = None) -> None:  # noqa: A002
        """Add an event; returns once it is durable in Temporal.

        Concurrent adds to one key share a call. An event whose `id` was seen in the window is
        dropped.

        Raises:
            InvalidEvent: it does not fit the event type; nothing was sent.
            PayloadTooLarge: it has over 256 KB.
            Busy: the instance takes no more at the moment.
        """
        item = self._item(event, id, "add")
        with self._sending("add", [item]):
            await self._connection.batcher.share(self._lane("add"), self._signal_adds, item)

    async def add_many(
        self, events: Iterable[Event], ids: Iterable[str | None] | None = None
    ) -> None:
        """Add many events, in order; returns once all are durable. `ids` are theirs, one each.

        Raises as `add`. Nothing is sent before every event was found to fit; after `Busy` some of
        them may be durable, so that adding them again needs `ids`.
        """
        given = many(events, f"{self.instance_id}: the events")
        named = [None] * len(given) if ids is None else many(ids, f"{self.instance_id}: the ids")
        if len(named) != len(given):
            raise InvalidArgument(f"{self.instance_id}: {len(given)} events, but {len(named)} ids")
        items = [self._item(*pair, "add") for pair in zip(given, named, strict=True)]
        with self._sending("add", items):
            await self._connection.batcher.share_all(self._lane("add"), self._signal_adds, items)

    async def add_confirmed(
        self,
        event: Event,
        id: str | None = None,  # noqa: A002
        timeout: timedelta = ANSWER_TIME,
    ) -> AddReceipt:
        """Add an event and hear what the instance made of it.

        Raises as `add`, and:
            NoWorker: none answered within `timeout`. Whether the event will count is not known;
                with an `id` it can be added again.
        """
        limit = self._limit(timeout)
        item = self._item(event, id, "add", limit)
        batcher = self._connection.batcher
        with self._sending("add", [item]):
            async with self._instance.within(limit):
                return await batcher.share(self._lane("add_confirmed"), self._update_adds, item)

    async def _signal_adds(self, items: list[Item]) -> list[None]:
        return await self._signal_events("add", items)

    async def _update_adds(self, items: list[Item]) -> list[AddReceipt | JobsError]:
        argument = batch_json(items, each=True)
        limit = max((each.limit for each in items if each.limit), key=lambda each: each.left)

        async def send() -> Any:
            await self._weigh(len(argument))
            raw = json_to_raw(argument)
            try:
                return await self._update_with_start(
                    "add_batch", [raw], update_id=None, limit=limit
                )
            except WorkflowUpdateFailedError as error:
                if (not_yet := self._not_yet(error)) is not None:
                    raise not_yet from error
                raise

        try:
            async with update_slot(self.instance_id):
                answer: Any = await patiently(send)
        except WorkflowUpdateFailedError as error:
            raise self._refused(error) from error
        except Unanswered as error:
            raise await self._instance.silence(limit) from error
        return [self._receipt(answer | each) for each in answer["events"]]

    def _receipt(self, answer: dict[str, JSON]) -> AddReceipt | JobsError:
        if "error" in answer:
            return InvalidEvent(f"{self.instance_id}: {answer['error']}")
        return AddReceipt.model_validate(answer)

    def _lane(self, verb: str) -> Lane:
        return self.instance_id, verb

    async def flush(self) -> bool:
        """Flush what waits now, also when paused. False where no instance is alive."""
        return await self._control("flush")

    async def clear(self) -> bool:
        """Drop what waits and end the instance. False where no instance is alive."""
        return await self._control("clear")
