"""The outbox: tracking events that an instance has emitted and nobody has settled yet.

Part of the workflow's state: it decides from history alone and travels with continue-as-new.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from durable_jobs.protocol import DeliverResult, Detail, JobRef, TrackingIdentity
from durable_jobs.values import JSON, size

from .ids import iso_ms, uuid7_at

DELIVERY_EVENTS = 500
DELIVERY_BYTES = 256 * 1024
"""The most that one delivery takes, an event of any size aside."""

BEYOND_CORE = frozenset({"job.paused", "job.resumed"})
"""Types that leave only where more than `core` is wanted."""


class Emitted(BaseModel):
    """One event before it has its number."""

    type: str
    at: datetime
    event_id: str | None = None
    fields: Detail = Field(default_factory=dict)


class OutboxCarry(BaseModel):
    """An outbox as it travels from one run of a workflow to the next."""

    execution_id: str = ""
    settled: int = 0
    """Events of this execution that need no further delivery; the next one's number follows."""

    events: list[Emitted] = Field(default_factory=list[Emitted])
    tracked: bool | None = None
    """Whether the instance is tracked; None until a worker has said."""

    identity: TrackingIdentity | None = None
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    handed_over: int = 0
    last_error: str | None = None


class Outbox:
    """Keeps what was emitted, in order, until it is settled.

    An event gets its number as a delivery takes it. What it took is settled as a whole, or taken
    again under the same numbers.
    """

    def __init__(
        self, ref: JobRef, instance_id: str, carry: OutboxCarry, *, was_reset: bool = False
    ) -> None:
        self._common: Detail = {
            "source": "job",
            "instanceId": instance_id,
            "id": ref.key,
            "jobType": ref.job_type,
            "jobName": ref.job,
        }
        self._carry = carry
        self._was_reset = was_reset
        self._in_flight = 0
        self.on_emit: Callable[[str], None] | None = None
        """Told the type of each event."""

    @property
    def execution_id(self) -> str:
        """What the events are numbered within."""
        return self._carry.execution_id

    @property
    def tracked(self) -> bool | None:
        """Whether the instance is tracked; None until a worker has said."""
        return self._carry.tracked

    @property
    def pending(self) -> int:
        """Events that are not settled."""
        return len(self._carry.events)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest of them happened."""
        return self._carry.events[0].at if self._carry.events else None

    def track(self, identity: TrackingIdentity | None) -> None:
        """A worker has said how the instance is tracked from now on; None: it is not.

        What was emitted while it was tracked leaves all the same, as does what a delivery took.
        """
        first, self._carry.tracked = self._carry.tracked is None, identity is not None
        if identity is not None:
            self._carry.identity = identity
        taken, rest = self._carry.events[: self._in_flight], self._carry.events[self._in_flight :]
        if identity is None and first:
            rest = []
        self._carry.events = [*taken, *(each for each in rest if self._wants(each.type))]

    def _wants(self, kind: str) -> bool:
        """Whether events of a type are to be told. One that is not gets no number."""
        identity = self._carry.identity
        return not (identity is not None and identity.types == "core" and kind in BEYOND_CORE)

    def emit(
        self, kind: str, at: datetime, fields: dict[str, JSON], event_id: str | None = None
    ) -> None:
        """Add one event, unless tracking is off. Fields that are None are left out.

        Without an id, one is made from the execution and the number. One that an attempt made is
        mixed with the execution after a reset, as the one before the reset may have told it.
        """
        if self._carry.tracked is False or not self._wants(kind):
            return
        if event_id is not None and self._was_reset:
            event_id = uuid7_at(at, f"{self.execution_id}:{event_id}")
        given = {name: value for name, value in fields.items() if value is not None}
        self._carry.events.append(Emitted(type=kind, at=at, event_id=event_id, fields=given))
        if self.on_emit is not None:
            self.on_emit(kind)

    def take(self, *, all_of_them: bool = False) -> list[Detail]:
        """The oldest events for one delivery, those of a delivery under way included.

        While no worker has said which types are told, it ends before one that may not be.
        """
        taken: list[Detail] = []
        room = DELIVERY_BYTES
        most = len(self._carry.events) if all_of_them else DELIVERY_EVENTS
        for place, emitted in enumerate(self._carry.events[:most]):
            if self._carry.identity is None and emitted.type in BEYOND_CORE:
                break
            event = self._numbered(emitted, self._carry.settled + place + 1)
            room -= size(event)
            if taken and room < 0 and not all_of_them:
                break
            taken.append(event)
        self._in_flight = len(taken)
        return taken

    def _numbered(self, emitted: Emitted, sequence: int) -> Detail:
        identity = self._carry.identity
        made = emitted.event_id or uuid7_at(emitted.at, f"{self.execution_id}:{sequence}")
        return {
            "eventId": made,
            "timestamp": iso_ms(emitted.at),
            **self._common,
            # The worker that delivers it fills in what no worker has said yet.
            "env": identity.env if identity else None,
            "serviceKey": identity.service_key if identity else None,
            "type": emitted.type,
            "executionId": self.execution_id,
            "sequence": sequence,
            **emitted.fields,
        }

    def settle(self, result: DeliverResult) -> None:
        """Take out what the last delivery took. After a reset, its numbers may be another's."""
        if self._carry.tracked is None:
            self.track(result.tracking)
        settled, self._in_flight = self._in_flight, 0
        if not result.settled:
            # Its worker does not track, and left the events. None of them has used its number.
            if self._carry.tracked is False:
                del self._carry.events[:settled]
            return
        del self._carry.events[:settled]
        if result.execution_id == self.execution_id:
            self._carry.settled += settled
        self._carry.delivered += result.delivered
        self._carry.rejected += len(result.rejected)
        self._carry.dropped += result.dropped
        self._carry.handed_over += result.handed_over
        self._carry.last_error = result.last_error or self._carry.last_error

    def release(self) -> None:
        """The last delivery came to nothing: what it took is taken again."""
        self._in_flight = 0

    def carry(self) -> OutboxCarry:
        """What travels with continue-as-new."""
        return self._carry

    def status(self) -> dict[str, Any]:
        """The `tracking` part of an instance's status."""
        return {
            "pending": self.pending,
            "delivered": self._carry.delivered,
            "rejected": self._carry.rejected,
            "dropped": self._carry.dropped,
            "handedOver": self._carry.handed_over,
            "lastError": self._carry.last_error,
        }
