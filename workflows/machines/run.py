"""A run: one counted call of the user's code, over as many attempts as it takes."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from durable_jobs.protocol import Checkpoint, Detail, Limit, Options, Report, RunResult
from durable_jobs.spans import later
from durable_jobs.tracking.ids import uuid7_at

LOST = "the attempt was lost with its worker or timed out"


class Run(BaseModel):
    """One run until it is over. Between two attempts it travels with continue-as-new."""

    handler: str
    count: int
    key: str
    """The idempotency key."""

    attempt: int = 1
    """The one under way, or the next one."""

    deadline: datetime | None = None
    """No attempt begins at or after it."""

    first_started_at: datetime | None = None
    began_at: datetime | None = None
    """When the first attempt was handed out; it begins once a worker takes it."""

    retry_at: datetime | None = None
    """When the next attempt begins; None where it may begin now."""

    checkpoint: Checkpoint | None = None
    progress: Detail | None = None

    def limits(self, options: Options) -> list[datetime]:
        """The times at or after which no attempt begins."""
        found = [] if self.deadline is None else [self.deadline]
        longest, first = options.retry.max_duration, self.first_started_at or self.began_at
        if longest is not None and first is not None:
            found.append(later(first, longest))
        return found

    def put_off(self, report: Report) -> None:
        """Wait for the next attempt, as a report says. A snooze is no attempt and no delay."""
        wait = report.retry_in or 0.0
        self.retry_at = later(report.at, wait)
        self.first_started_at = report.first_started_at or self.first_started_at
        self.checkpoint = report.checkpoint or self.checkpoint
        self.progress = report.progress or self.progress
        if not report.snoozed:
            self.attempt += 1
            return
        # What a snooze takes is no part of the time that the run has.
        if self.first_started_at is not None:
            self.first_started_at = later(self.first_started_at, wait)
        if self.deadline is not None:
            self.deadline = later(self.deadline, wait)

    def lost(
        self, message: str, error: str, options: Options, now: datetime, chance: float
    ) -> Report:
        """The report of the attempt under way, which could not make one itself."""
        limit = self._limit_after(options, now)
        wait = None if limit else options.retry.delay(self.attempt, chance).total_seconds()
        return Report(
            attempt=self.attempt,
            event_id=uuid7_at(now, f"{self.key}:{self.attempt}:lost"),
            at=now,
            message=message,
            type=error,
            retry_in=wait,
            exhausted=limit,
        )

    def _limit_after(self, options: Options, now: datetime) -> Limit | None:
        most = options.retry.max_attempts
        if most is not None and self.attempt >= most:
            return "max_attempts"
        return "max_duration" if any(now >= end for end in self.limits(options)) else None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt succeeded."""

    result: RunResult


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed, or put the run off, and says so itself."""

    report: Report


@dataclass(frozen=True, slots=True)
class Lost:
    """The attempt ended without a word: its worker was killed, or it took too long."""

    message: str = LOST
    error: str = "TimeoutError"
    """The type of what ended it."""

    heartbeat: Detail | None = None
    """What it last said with a heartbeat."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """The attempt was cancelled. It counts for nothing."""


@dataclass(frozen=True, slots=True)
class NoHandler:
    """The worker that took it does not know the handler. It was no attempt."""

    message: str


Outcome = Succeeded | Failed | Lost | CutOff | NoHandler
"""What came of one attempt."""
