"""One life of an instance: how far it got, whether it is paused, and how it ends."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from durable_jobs.protocol import Detail
from durable_jobs.values import JSON

KEPT_REJECTIONS = 20
MAX_REASON = 500

PausedBy = Literal["user", "exhausted", "job"]
Ended = Literal["completed", "terminated", "failed"]


class Life(BaseModel):
    """What every instance carries from one run of its workflow to the next."""

    started_at: datetime
    begun: bool = False
    """Whether its start was told."""

    run_count: int = 0
    paused: PausedBy | None = None
    """Who paused it: a caller, a run that failed for good, or the pause of the whole job."""

    paused_at: datetime | None = None
    pause_note: str | None = None
    resumed_at: datetime | None = None
    resume_note: str | None = None
    rejected: int = 0
    rejections: list[Detail] = Field(default_factory=list[Detail])
    last_error: str | None = None
    state: JSON = None
    has_state: bool = False
    state_version: int = 1
    traceparent: str | None = None
    """Of the call that started it; its first run links it."""

    def pause(self, by: PausedBy, at: datetime, note: str | None = None) -> bool:
        """Note a pause; of a paused one, only a new note. Returns whether there is one to tell of.

        A caller's pause outlives that of the whole job.
        """
        if self.paused is None:
            self.paused, self.paused_at, self.pause_note = by, at, note
            return True
        if by == "job":
            return False
        self.pause_note = note or self.pause_note
        if self.paused != "job":
            return False
        self.paused = by
        return True

    def resume(self, at: datetime, note: str | None = None) -> bool:
        """Note the end of a pause. Returns whether there was one."""
        was_paused = self.paused is not None
        if was_paused:
            self.resumed_at, self.resume_note = at, note
        self.paused = self.paused_at = self.pause_note = None
        return was_paused

    def reject(self, reason: str, at: datetime, event_id: str | None = None) -> None:
        """Count an event that was not taken, and keep why."""
        self.rejected += 1
        entry: Detail = {"at": at.isoformat(), "reason": reason[:MAX_REASON]}
        if event_id is not None:
            entry["id"] = event_id
        self.rejections = [*self.rejections, entry][-KEPT_REJECTIONS:]

    def status(self) -> Detail:
        """Its part of the answer to the query `status`."""
        return {
            "runCount": self.run_count,
            "startedAt": self.started_at.isoformat(),
            "lastError": self.last_error,
            "pausedAt": self.paused_at.isoformat() if self.paused_at else None,
            "pausedBy": self.paused,
            "pauseNote": self.pause_note,
            "resumedAt": self.resumed_at.isoformat() if self.resumed_at else None,
            "resumeNote": self.resume_note,
            "rejectedEvents": self.rejected,
            "rejections": self.rejections,
        }


@dataclass
class Ending:
    """How a life comes to its end."""

    asked: bool = False
    """Whether a caller or a run asked for it."""

    reason: str | None = None
    at: datetime | None = None
    """When a run ended the life; None where a caller or the time did."""

    discarded: int = 0
    """Events that were accepted and never ran."""

    status: Ended | None = None
    """Set once the life is over."""

    planned: bool = False
    """Whether it completed as its definition says; nothing that comes meanwhile reopens it."""

    exhausted: bool = False
    """Whether it failed because its retries were exhausted."""
