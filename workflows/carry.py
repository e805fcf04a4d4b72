"""What continue-as-new carries, and when it is due."""

from pydantic import BaseModel, Field
from temporalio import workflow

from durable_jobs.packing import pack, unpack
from durable_jobs.tracking.outbox import OutboxCarry
from durable_jobs.values import JSON, dumps

from .machines.machine import Snapshot
from .mailbox import Unread

MAX_HISTORY_EVENTS = 4_000
MAX_LETTERS = 5_000
"""The server refuses signals beyond 10,000 a run, and updates beyond 2,000."""

MAX_UPDATES = 1_000
REFUSED_BYTES = 25 * 1024 * 1024
REFUSED_EVENTS = 40_000
"""An update that brings events is refused from there on; a signal cannot be."""

CARRIED_BYTES = 1536 * 1024
"""The most that continue-as-new carries; 2 MB wedge it."""


class Carry(BaseModel):
    """The part of the start argument that only continue-as-new gives."""

    machine: Snapshot
    outbox: OutboxCarry
    unread: list[Unread] = Field(default_factory=list[Unread])


def is_due(letters: int, updates: int) -> bool:
    """Whether this run's history is long enough."""
    info = workflow.info()
    if info.is_continue_as_new_suggested():
        return True
    length = info.get_current_history_length()
    return length > MAX_HISTORY_EVENTS or letters > MAX_LETTERS or updates > MAX_UPDATES


def is_full() -> bool:
    """Whether this run's history has no room for more events from callers."""
    info = workflow.info()
    size, length = info.get_current_history_size(), info.get_current_history_length()
    return size > REFUSED_BYTES or length > REFUSED_EVENTS


def packed(carry: Carry) -> JSON | None:
    """A carry as it travels; None where it is too large to."""
    return pack(dumps(carry), CARRIED_BYTES)


def unpacked(value: JSON) -> Carry:
    """A carry that came."""
    return Carry.model_validate(unpack(value))
