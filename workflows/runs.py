"""Runs a handler of the user's: one activity, its attempts, and what came of it."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError
from temporalio.workflow import ActivityCancellationType

from durable_jobs.protocol import (
    FAILED_ERROR,
    NOT_REGISTERED,
    SHUTDOWN_ERROR,
    Detail,
    JobRef,
    Options,
    Report,
    RunRequest,
    RunResult,
)
from durable_jobs.tracking.ids import uuid7_at
from durable_jobs.wire import JSON, model_from_raw, to_raw

# Room for an attempt that was timed out in its worker to say so itself.
_REPORTING_TIME = timedelta(seconds=10)


@dataclass
class Run:
    """One run while it is under way."""

    handler: str
    count: int
    key: str
    """The idempotency key."""

    state: JSON
    has_state: bool
    state_version: int
    detail: Detail
    deadline: datetime | None = None
    attempts_before: int = 0
    first_started_at: datetime | None = None
    began_at: datetime | None = None
    attempt: int = 1
    reported: dict[int, Report] = field(default_factory=dict[int, Report])
    retry_at: datetime | None = None
    outbox: list[Detail] = field(default_factory=list[Detail])

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
            detail=self.detail,
            outbox=self.outbox,
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
class CutOff:
    """An attempt that does not count: its worker shut down."""

    attempts_before: int
    first_started_at: datetime | None


@dataclass(frozen=True)
class Unknown:
    """The worker that took it does not know the handler."""

    message: str


Outcome = Succeeded | Failed | Interrupted | CutOff | Unknown


def start(run: Run, ref: JobRef, options: Options, summary: str) -> workflow.ActivityHandle[Any]:
    """Start the activity of a run, named after the job and handler."""
    retry = options.retry
    left = 0 if retry.max_attempts is None else max(1, retry.max_attempts - run.attempts_before)
    return workflow.start_activity(
        f"{ref.job}.{run.handler}",
        to_raw(run.request(ref, options)),
        result_type=RawValue,
        start_to_close_timeout=timedelta(seconds=options.timeout) + _REPORTING_TIME,
        heartbeat_timeout=timedelta(seconds=options.heartbeat_timeout),
        # Each failing attempt names its own wait; this is for attempts that were lost.
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=retry.initial),
            backoff_coefficient=retry.factor if retry.backoff == "exponential" else 1.0,
            maximum_interval=timedelta(seconds=retry.maximum),
            maximum_attempts=left,
            # A worker that does not know the job must not use up the run's attempts.
            non_retryable_error_types=[NOT_REGISTERED],
        ),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )


async def outcome_of(run: Run, handle: workflow.ActivityHandle[Any], now: datetime) -> Outcome:
    """What came of a finished activity."""
    try:
        raw: Any = await handle
    except asyncio.CancelledError:
        return Interrupted()
    except ActivityError as error:
        if isinstance(error.cause, CancelledError):
            return Interrupted()
        return _failure(run, error, now)
    return Succeeded(model_from_raw(RunResult, raw))


def _failure(run: Run, error: ActivityError, now: datetime) -> Outcome:
    cause = error.cause
    match cause:
        case ApplicationError() if cause.type == NOT_REGISTERED:
            return Unknown(cause.message)
        case ApplicationError() if cause.details and cause.details[0] == SHUTDOWN_ERROR:
            detail: Detail = cause.details[1]
            started = detail.get("first_started_at")
            return CutOff(
                detail["attempts_before"], datetime.fromisoformat(started) if started else None
            )
        case ApplicationError() if cause.details and cause.details[0] == FAILED_ERROR:
            return Failed(Report.model_validate(cause.details[1]), cause)
        case _:
            return Failed(_lost(run, error, now), cause or error)


def _lost(run: Run, error: ActivityError, now: datetime) -> Report:
    """The report of a last attempt that could not make one itself."""
    cause = error.cause
    timed_out = isinstance(cause, TemporalTimeoutError)
    message = "the attempt was lost with its worker or timed out" if timed_out else str(cause)
    return Report(
        run_key=run.key,
        handler=run.handler,
        attempt=run.attempt,
        will_retry=False,
        event_id=uuid7_at(now, f"{run.key}:{run.attempt}:lost"),
        at=now,
        message=message,
        type=type(cause).__name__,
        exhausted="max_attempts" if timed_out else None,
        synthetic=True,
    )
