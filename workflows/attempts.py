"""One attempt of a run: one activity, and what its end means."""

import asyncio
from datetime import timedelta
from typing import Any, cast

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError
from temporalio.workflow import ActivityCancellationType

from durable_jobs.names import FAILED_ERROR, NOT_REGISTERED
from durable_jobs.protocol import Detail, Report, RunRequest, RunResult
from durable_jobs.wire import model_from_raw, to_raw

from .machines.run import LOST, CutOff, Failed, Lost, NoHandler, Outcome, Succeeded

REPORTING_TIME = timedelta(seconds=10)
"""Room for an attempt that was timed out in its worker to say so itself."""

# The server repeats only what never was an attempt: one that its worker's shutdown cut off, or that
# could not be read. Each failure of a handler is final to the server, and the workflow goes on.
_REPEAT = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    maximum_interval=timedelta(seconds=5),
    non_retryable_error_types=[
        NOT_REGISTERED,
        "TemporalTimeout:Heartbeat",
        "TemporalTimeout:StartToClose",
    ],
)

Handle = workflow.ActivityHandle[Any]


def start(request: RunRequest, heartbeat_timeout: float, summary: str) -> Handle:
    """Start the activity of an attempt, named after the job and handler."""
    return workflow.start_activity(
        f"{request.job}.{request.handler}",
        to_raw(request),
        result_type=RawValue,
        start_to_close_timeout=timedelta(seconds=request.timeout) + REPORTING_TIME,
        heartbeat_timeout=timedelta(seconds=heartbeat_timeout),
        retry_policy=_REPEAT,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )


def outcome_of(handle: Handle) -> tuple[Outcome, BaseException | None]:
    """What came of a finished attempt, and its error as Temporal has it."""
    try:
        raw: Any = handle.result()
    except asyncio.CancelledError:
        return CutOff(), None
    except ActivityError as error:
        cause = error.cause or error
        return outcome_of_error(cause), cause
    try:
        return Succeeded(model_from_raw(RunResult, raw)), None
    except ValueError as error:
        return Lost(f"its result cannot be read: {error}", "InvalidResult"), None


def outcome_of_error(cause: BaseException) -> Outcome:
    """What the error means that an attempt's activity ended with."""
    match cause:
        case CancelledError():
            return CutOff()
        case ApplicationError() if cause.type == NOT_REGISTERED:
            return NoHandler(cause.message)
        case ApplicationError() if cause.details and cause.details[0] == FAILED_ERROR:
            return _reported(cause)
        case TemporalTimeoutError():
            return Lost(LOST, "TimeoutError", _heartbeat_of(cause))
        case ApplicationError():
            return Lost(cause.message, cause.type or "ApplicationError")
        case _:
            return Lost(str(cause), type(cause).__name__)


def _reported(error: ApplicationError) -> Outcome:
    try:
        return Failed(Report.model_validate(error.details[1]))
    except (ValueError, IndexError):
        return Lost(error.message, error.type or "ApplicationError")


def _heartbeat_of(error: TemporalTimeoutError) -> Detail | None:
    details = error.last_heartbeat_details
    mark = details[0] if details else None
    return cast("Detail", mark) if isinstance(mark, dict) else None
