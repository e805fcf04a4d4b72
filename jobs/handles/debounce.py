"""The handle of a debounce instance."""

from collections.abc import Sequence
from typing import Any, Generic

from temporalio.client import WorkflowUpdateFailedError
from typing_extensions import TypeVar

from ..definitions import DebounceJob
from ..status import AddReceipt
from ..wire import JSON
from .base import Connection, Handle

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

        An event whose `id` was seen in the window is dropped.

        Raises:
            InvalidEvent: it does not fit the event type; nothing was sent.
            PayloadTooLarge: it has over 256 KB.
            Busy: the instance takes no more at the moment.
        """
        data = self._codec.dump_event(event, self.key)
        event_id = self._event_id(id, "add")
        if event_id is None:
            await self._signal_with_start("add", data)
        else:
            await self._signal_with_start("add_batch", _batch([(data, event_id)]))

    async def add_confirmed(self, event: Event, id: str | None = None) -> AddReceipt:  # noqa: A002
        """Add an event and hear what the instance made of it; raises as `add`."""
        data = self._codec.dump_event(event, self.key)
        event_id = self._event_id(id, "add")
        try:
            answer: Any = await self._update_with_start(
                "add_batch", _batch([(data, event_id)]), update_id=None
            )
        except WorkflowUpdateFailedError as error:
            raise self._refused(error) from error
        return AddReceipt.model_validate(answer)

    async def flush(self) -> bool:
        """Flush what waits now, also when paused. False where no instance is alive."""
        return await self._control("flush")

    async def clear(self) -> bool:
        """Drop what waits and end the instance. False where no instance is alive."""
        return await self._control("clear")


def _batch(events: Sequence[tuple[JSON, str | None]]) -> JSON:
    return {"events": [{"data": data} | ({"id": id} if id else {}) for data, id in events]}  # noqa: A001
