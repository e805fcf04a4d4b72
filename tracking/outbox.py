"""The outbox: tracking events that an instance has emitted and nobody has accepted yet.

Part of the workflow's state: it decides from history alone and travels with continue-as-new.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field

from durable_jobs.protocol import Detail, JobRef, TrackingIdentity, Verdicts
from durable_jobs.wire import size

from .ids import iso_ms, uuid7_at

MAX_EVENTS = 500
MAX_BYTES = 256 * 1024
BATCH_EVENTS = 100
BATCH_BYTES = 64 * 1024
BEYOND_CORE = frozenset({"job.paused", "job.resumed"})
"""Types that are made only where more than `core` is wanted."""

GIVEN_AGAIN = timedelta(seconds=5)
"""After so long without a verdict, the worker that an event was given to may be gone."""


class OutboxCarry(BaseModel):
    """An outbox as it travels from one run of a workflow to the next."""

    sequence: int = 0
    execution_id: str = ""
    origin: str = ""
    """After a reset: what the ids are made from. A `Replayer` does not know the run's ID then."""

    events: list[Detail] = Field(default_factory=list[Detail])
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    last_error: str | None = None


@dataclass
class _Entry:
    event: Detail
    bytes: int
    task: int = 0
    """The workflow task that emitted it, by its place in history."""

    in_hand: bool = False
    given_at: datetime | None = None
    """When a handler's activity last took it along."""


class Outbox:
    """Keeps what was emitted, in order, until it is settled."""

    def __init__(self, ref: JobRef, instance_id: str, carry: OutboxCarry) -> None:
        self._common: Detail = {
            "source": "job",
            "instanceId": instance_id,
            "id": ref.key,
            "jobType": ref.job_type,
            "jobName": ref.job,
        }
        self._carry = carry
        self._entries = {event["eventId"]: _Entry(event, size(event)) for event in carry.events}
        self._bytes = sum(entry.bytes for entry in self._entries.values())
        self._given: list[str] = []
        self.on_emit: Callable[[str], None] | None = None
        """Told the type of each event."""

        self.identity: TrackingIdentity | None = None
        """Set from the recorded options. None: tracking is off, nothing is emitted."""

    @property
    def sequence(self) -> int:
        """The number of the last event."""
        return self._carry.sequence

    @property
    def execution_id(self) -> str:
        """What the events are numbered within."""
        return self._carry.execution_id

    def emit(
        self, kind: str, event_id: str | None, at: datetime, fields: Detail, *, task: int
    ) -> None:
        """Add one event, unless its type is not wanted. Fields that are None are left out.

        One that is not wanted gets no number, so that the sequence on the wire is whole.

        Without an id, one is made from the execution and the sequence, the same on each replay. One
        that an attempt made is mixed with the reset, after one.
        `task` is the place in history of the workflow task that emits it, or 0 for an event that
        comes out the same, with the same sequence, if that task has to be done again.
        """
        identity = self.identity
        if identity is None or (identity.types == "core" and kind in BEYOND_CORE):
            return
        self._carry.sequence += 1
        origin = self._carry.origin
        # What an attempt made may have been told already, by the execution before the reset.
        if event_id is None or origin:
            made_by = event_id or self._carry.sequence
            event_id = uuid7_at(at, f"{origin or self._carry.execution_id}:{made_by}")
        event: Detail = {
            "eventId": event_id,
            "timestamp": iso_ms(at),
            **self._common,
            "env": identity.env,
            "serviceKey": identity.service_key,
            "type": kind,
            "executionId": self._carry.execution_id,
            "sequence": self._carry.sequence,
            **{name: value for name, value in fields.items() if value is not None},
        }
        entry = _Entry(event, size(event), task)
        self._entries[event_id] = entry
        self._bytes += entry.bytes
        if self.on_emit is not None:
            self.on_emit(kind)

    def emit_opening(
        self, opened_at: datetime, flush_at: datetime | None, *, task: int = 0
    ) -> None:
        """Say that a window was opened."""
        due = {"flushAt": iso_ms(flush_at) if flush_at else None}
        self.emit("debounce.started", None, opened_at, due, task=task)

    def restart(self, execution_id: str, origin: str) -> None:
        """Number the events from 1 again under another execution id, as after a reset.

        `origin` is what their ids are made from.
        """
        self._carry.execution_id, self._carry.origin = execution_id, origin
        self._carry.sequence = 0

    def ready(self, before: int | None = None) -> bool:
        """Whether an event waits that is in nobody's hand, and emitted `before` that task."""
        return any(_free(entry, before) for entry in self._entries.values())

    @property
    def weight(self) -> int:
        """Its bytes, in units of a delivery's."""
        return self._bytes // BATCH_BYTES

    @property
    def overflowing(self) -> bool:
        """Whether it holds more than an instance should carry."""
        return len(self._entries) > MAX_EVENTS or self._bytes > MAX_BYTES

    def take(self, before: int | None = None) -> list[Detail]:
        """Events for one delivery, oldest first; they are in hand until settled or released."""
        taken: list[Detail] = []
        room = BATCH_BYTES
        for entry in self._entries.values():
            if not _free(entry, before):
                continue
            room -= entry.bytes
            if taken and (room < 0 or len(taken) == BATCH_EVENTS):
                break
            entry.in_hand = True
            taken.append(entry.event)
        return taken

    def give(self, now: datetime) -> tuple[list[Detail], list[str]]:
        """Events for a handler's activity to take along, and ids that it is asked about.

        The latter were given to a worker a moment ago, which will know what became of them: as
        whole events they would stand in history once for each run until then.
        """
        lately = now - GIVEN_AGAIN
        asked = [
            event_id
            for event_id, entry in self._entries.items()
            if not entry.in_hand and entry.given_at is not None and entry.given_at > lately
        ]
        for event_id in asked:
            self._entries[event_id].in_hand = True
        given = self.take()
        for event in given:
            self._entries[event["eventId"]].given_at = now
        self._given = [*asked, *(event["eventId"] for event in given)]
        return given, asked[:BATCH_EVENTS]

    def take_back(self) -> None:
        """The handler's activity has ended: what it brought no verdict on is in no hand."""
        for event_id in self._given:
            if event_id in self._entries:
                self._entries[event_id].in_hand = False
        self._given = []

    def take_all(self) -> list[Detail]:
        """All events, those in hand too."""
        for entry in self._entries.values():
            entry.in_hand = True
        return [entry.event for entry in self._entries.values()]

    def release(self, events: list[Detail]) -> None:
        """Give back those that were not settled."""
        for event in events:
            entry = self._entries.get(event["eventId"])
            if entry is not None:
                entry.in_hand = False

    def settle(self, verdicts: Verdicts) -> None:
        """Take out what needs no further delivery, and count it."""
        for kind in ("delivered", "rejected", "dropped"):
            count = sum(self._remove(event_id) for event_id in getattr(verdicts, kind))
            setattr(self._carry, kind, getattr(self._carry, kind) + count)
        for event_id in verdicts.kept:
            self._remove(event_id)
        refused = [*verdicts.rejected.values(), *verdicts.dropped.values()]
        if verdicts.trouble or refused:
            self._carry.last_error = verdicts.trouble or refused[-1]

    def hand_over(self, events: list[Detail]) -> None:
        """Take out events that another workflow delivers from now on."""
        for event in events:
            self._remove(event["eventId"])

    def _remove(self, event_id: str) -> int:
        entry = self._entries.pop(event_id, None)
        if entry is None:
            return 0
        self._bytes -= entry.bytes
        return 1

    def carry(self) -> OutboxCarry:
        """What travels with continue-as-new."""
        events = [entry.event for entry in self._entries.values()]
        return self._carry.model_copy(update={"events": events})

    def status(self) -> dict[str, Any]:
        """The `tracking` part of an instance's status."""
        return {
            "pending": len(self._entries),
            "delivered": self._carry.delivered,
            "rejected": self._carry.rejected,
            "dropped": self._carry.dropped,
            "lastError": self._carry.last_error,
        }


def _free(entry: _Entry, before: int | None) -> bool:
    return not entry.in_hand and (before is None or entry.task < before)
