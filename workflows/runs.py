"""Runs a handler of the user's: one activity, its attempts, and what came of it."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, RetryState
from temporalio.exceptions import TimeoutError as TemporalTimeoutError
from temporalio.workflow import ActivityCancellationType

from durable_jobs.names import FAILED_ERROR, NOT_REGISTERED, SHUTDOWN_ERROR, YIELD_ERROR
from durable_jobs.protocol import (
    Checkpoint,
    Detail,
    JobRef,
    Options,
    Reached,
    Report,
    RunRequest,
    RunResult,
    Terms,
)
from durable_jobs.tracking.ids import uuid7_at
from durable_jobs.wire import JSON, model_from_raw

# Room for an attempt that was timed out in its worker to say so itself.
_REPORTING_TIME = timedelta(seconds=10)

_LOST = "the attempt was lost with its worker or timed out"
_STOPPED = (SHUTDOWN_ERROR, YIELD_ERROR)


class Run(BaseModel):
    """One run while it is under way, as it travels with continue-as-new.

    What it is made of travels with the rest of the instance: see `Runner.take_up`.
    """

    handler: str
    count: int
    key: str
    """The idempotency key."""

    state: JSON = Field(default=None, exclude=True)
    has_state: bool = Field(default=False, exclude=True)
    state_version: int = Field(default=1, exclude=True)
    detail: Detail = Field(default_factory=dict, exclude=True)
    deadline: datetime | None = None
    attempts_before: int = 0
    """Attempts that earlier activities made."""

    first_started_at: datetime | None = None
    began_at: datetime | None = None
    attempt: int = 1
    lost: int = 0
    """Attempts that were lost: what is behind it in its burst may have begun in them."""

    retry_at: datetime | None = None
    checkpoint: Checkpoint | None = None
    progress: Detail | None = None
    alone: bool = Field(default=False, exclude=True)
    """Whether its activity makes one attempt and no more."""
    outside: bool = False
    """Whether its attempts are made outside the instance, which continues as new beside them."""

    places: int = 0
    """Workflows that made them."""

    place: str | None = None
    """The one that makes the attempt under way."""

    carried: bool = False
    """Whether the instance has continued as new while it was made."""

    closed: int = 0
    """The attempts up to this one had been reported when it last did."""

    reported: dict[int, Report] = Field(default_factory=dict[int, Report], exclude=True)
    outbox: list[Detail] = Field(default_factory=list[Detail], exclude=True)
    asked: list[str] = Field(default_factory=list[str], exclude=True)

    def knows(self, attempt: int) -> bool:
        """Whether it is known that an attempt failed."""
        return attempt <= max(self.attempts_before, self.closed) or attempt in self.reported

    def reach(self, reached: Reached) -> None:
        """Go on from there with the next activity."""
        self.attempts_before = max(self.attempts_before, reached.attempts_before)
        self.first_started_at = reached.first_started_at or self.first_started_at
        self.checkpoint = reached.checkpoint or self.checkpoint
        self.progress = reached.progress or self.progress

    def reach_last_report(self) -> None:
        """Go on after the last attempt that is known to have failed."""
        self.attempts_before = max(self.attempts_before, self.last_reported)
        self.first_started_at = self.first_started_at or self.began_at

    @property
    def last_reported(self) -> int:
        """The last attempt that is known to have failed; 0 without one."""
        return max(self.reported, default=self.closed)

    def carry(self) -> None:
        """Go along with continue-as-new."""
        self.closed, self.carried = self.last_reported, True

    def next_place(self) -> str:
        """Name the workflow that makes its next attempts."""
        self.places += 1
        return f"job-attempt:{self.key}:{self.places}"

    def request(self, ref: JobRef, options: Options) -> RunRequest:
        """The activity's input."""
        return RunRequest(
            job_type=ref.job_type,
            job=ref.job,
            key=ref.key,
            handler=self.handler,
            run_count=self.count,
            idempotency_key=self.key,
            attempts_before=self.attempts_before,
            first_started_at=self.first_started_at,
            deadline=self.deadline,
            retry=options.retry,
            timeout=options.timeout,
            include_state=options.include_state,
            digest=options.digest,
            state=self.state,
            has_state=self.has_state,
            state_version=self.state_version,
            checkpoint=self.checkpoint,
            progress=self.progress,
            alone=self.alone,
            detail=self.detail,
            outbox=self.outbox,
            asked=self.asked,
        )

    def terms(self, ref: JobRef, options: Options, summary: str) -> Terms:
        """How its attempts are made."""
        retry = options.retry
        left = (
            0 if retry.max_attempts is None else max(1, retry.max_attempts - self.attempts_before)
        )
        return Terms(
            activity=f"{ref.job}.{self.handler}",
            summary=summary,
            timeout=options.timeout,
            heartbeat_timeout=options.heartbeat_timeout,
            # Each failing attempt names its own wait; this is for attempts that were lost.
            initial=retry.initial,
            factor=retry.factor if retry.backoff == "exponential" else 1.0,
            maximum=retry.maximum,
            most=left,
        )


@dataclass(frozen=True)
class Succeeded:
    """An attempt succeeded."""

    result: RunResult


@dataclass(frozen=True)
class Failed:
    """The run failed for good."""

    report: Report
    cause: BaseException


@dataclass(frozen=True)
class Interrupted:
    """The instance is ending; the run was given up."""


@dataclass(frozen=True)
class Carried:
    """The run goes on after continue-as-new."""


@dataclass(frozen=True)
class Stopped:
    """The activity ended before the run did; another one goes on from what was reached."""

    reached: Reached


@dataclass(frozen=True)
class Cancelled:
    """The activity was cancelled; the attempt under way, if one was, does not count."""


@dataclass(frozen=True)
class Unknown:
    """The worker that took it does not know the handler."""

    message: str


Ended = Succeeded | Failed | Interrupted | Carried
"""What a run comes to."""

Outcome = Succeeded | Failed | Stopped | Cancelled | Unknown
"""What came of one activity."""


class Activity(Protocol):
    """One activity of a run, wherever it is made."""

    def done(self) -> bool:
        """Whether it is known what came of it."""
        ...

    def cancel(self) -> object:
        """Ask it to end."""
        ...

    def __await__(self) -> Generator[Any, Any, Any]:
        """What came of it."""
        ...


def start(terms: Terms, request: RawValue) -> workflow.ActivityHandle[Any]:
    """Start the activity of a run, named after the job and handler."""
    return workflow.start_activity(
        terms.activity,
        request,
        result_type=RawValue,
        start_to_close_timeout=timedelta(seconds=terms.timeout) + _REPORTING_TIME,
        heartbeat_timeout=timedelta(seconds=terms.heartbeat_timeout),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=terms.initial),
            backoff_coefficient=terms.factor,
            maximum_interval=timedelta(seconds=terms.maximum),
            maximum_attempts=terms.most,
            # A worker that does not know the job must not use up the run's attempts.
            non_retryable_error_types=[NOT_REGISTERED],
        ),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=terms.summary,
    )


async def outcome_of(run: Run, activity: Activity, options: Options, now: datetime) -> Outcome:
    """What came of a finished activity."""
    try:
        raw: Any = await activity
    except asyncio.CancelledError:
        return Cancelled()
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            return Cancelled()
        return _failure(run, error, options, now)
    return Succeeded(model_from_raw(RunResult, raw))


def _failure(run: Run, error: ActivityError, options: Options, now: datetime) -> Outcome:
    cause = error.cause
    match cause:
        case ApplicationError() if cause.type == NOT_REGISTERED:
            return Unknown(cause.message)
        case ApplicationError() if cause.details and cause.details[0] in _STOPPED:
            return Stopped(Reached.model_validate(cause.details[1]))
        case ApplicationError() if cause.details and cause.details[0] == FAILED_ERROR:
            return Failed(Report.model_validate(cause.details[1]), cause)
        case _ if _may_go_on(run, error, options):
            return _failed_while_cancelled(run, error, now)
        case _:
            return Failed(_all_lost(run, error, options, now), cause or error)


def _may_go_on(run: Run, error: ActivityError, options: Options) -> bool:
    most = options.retry.max_attempts
    left = most is None or run.attempt < most
    return error.retry_state == RetryState.CANCEL_REQUESTED and left


def _failed_while_cancelled(run: Run, error: ActivityError, now: datetime) -> Outcome:
    """The attempt would have been tried again, had nobody cancelled the activity."""
    if isinstance(error.cause, ApplicationError):
        # It has reported itself.
        return Cancelled()
    return Stopped(
        Reached(
            attempts_before=run.attempt,
            first_started_at=run.first_started_at or run.began_at,
            report=_lost(run, error, now, run.attempt, will_retry=True),
        )
    )


def cause_of(report: Report) -> ApplicationError:
    """The error that a report tells of."""
    return ApplicationError(report.text, type=report.type or None, non_retryable=True)


def maybe_lost(run: Run, attempt: int, now: datetime) -> Report:
    """The report of an attempt that may have begun in a burst that was lost."""
    return Report(
        run_key=run.key,
        handler=run.handler,
        attempt=attempt,
        will_retry=True,
        event_id=uuid7_at(now, f"{run.key}:{attempt}:lost"),
        at=now,
        message=_LOST,
        type="TimeoutError",
        lost=True,
        synthetic=True,
    )


def _all_lost(run: Run, error: ActivityError, options: Options, now: datetime) -> Report:
    """The report of a last attempt that was lost, with those before it of which nobody spoke."""
    number = run.attempt
    if error.retry_state == RetryState.MAXIMUM_ATTEMPTS_REACHED:
        number = max(number, options.retry.max_attempts or 0)
    earlier = [
        _lost(run, error, now, attempt, will_retry=True) for attempt in range(run.attempt, number)
    ]
    return _lost(run, error, now, number).model_copy(update={"earlier": earlier})


def _lost(
    run: Run, error: ActivityError, now: datetime, attempt: int, *, will_retry: bool = False
) -> Report:
    """The report of an attempt that could not make one itself."""
    cause = error.cause
    timed_out = isinstance(cause, TemporalTimeoutError)
    message = _LOST if timed_out else str(cause)
    return Report(
        run_key=run.key,
        handler=run.handler,
        attempt=attempt,
        will_retry=will_retry,
        event_id=uuid7_at(now, f"{run.key}:{attempt}:lost"),
        at=now,
        message=message,
        type=type(cause).__name__,
        exhausted="max_attempts" if timed_out and not will_retry else None,
        lost=timed_out,
        synthetic=True,
    )
