"""One attempt of a run: its time, its heartbeats, and what it says of itself at its end."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, cast

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from durable_jobs.errors import RetryAfter, Snooze
from durable_jobs.logs import note_attempt
from durable_jobs.names import FAILED_ERROR
from durable_jobs.pauses import JobPause
from durable_jobs.protocol import Checkpoint, Detail, Executed, Options, Report, RunRequest
from durable_jobs.tracking.config import Tracking
from durable_jobs.tracking.ids import uuid7_at
from durable_jobs.values import JSON, size

from .failures import (
    category_of,
    cause_of,
    decide,
    details_of,
    in_a_line,
    message_of,
    stack_of,
    titled,
    type_of,
)
from .redaction import redacted

logger: logging.Logger = logging.getLogger(__name__)

MAX_STATE_IN_EVENT = 64 * 1024
_FIRST_HEARTBEAT = timedelta(seconds=1)
_AGAIN_AT_ONCE = timedelta(milliseconds=200)

_current: ContextVar["Attempt"] = ContextVar("durable_jobs_attempt")


def current_attempt() -> "Attempt":
    """The attempt that the interceptor opened around the handler at hand."""
    return _current.get()


class Attempt:
    """Watches over one attempt. Its heartbeats say how far it got, should it be lost."""

    def __init__(
        self, request: RunRequest, options: Options | None, tracking: Tracking | None
    ) -> None:
        info = activity.info()
        self.request = request
        self.options = options
        """This worker's, for the job."""

        self._info = info
        self._tracking = tracking
        self._state_before: Detail = {}
        if self._tells_state and request.has_state and request.job_type != "debounce":
            # Until the handler begins; a debounce's is folded from events first.
            self.begins_with(request.state)
        self._started_at = info.started_time
        self._loop = asyncio.get_running_loop()
        self.opened: float = self._loop.time()
        """When the activity began, by the loop's time."""

        self._began = self.opened
        mark = _mark_of(info.heartbeat_details)
        first = mark.get("first_started_at")
        self.first_started_at: datetime = request.first_started_at or (
            datetime.fromisoformat(first) if first else self._started_at
        )
        """When the run's first attempt began."""

        kept = mark.get("checkpoint")
        # The server repeats an attempt that a shutdown cut off, with what that one had reached.
        self.checkpoint_kept: Checkpoint | None = (
            Checkpoint.model_validate(kept) if kept else request.checkpoint
        )
        self.last_progress: Detail | None = mark.get("progress", request.progress)

    @property
    def newer_options(self) -> Options | None:
        """This worker's options, where they are not those of the request."""
        options = self.options
        return options if options is not None and options.digest != self.request.digest else None

    @property
    def _tells_state(self) -> bool:
        return self.options is not None and self.options.include_state

    @property
    def _heartbeat_timeout(self) -> timedelta:
        return self._info.heartbeat_timeout or timedelta(seconds=15)

    def now(self) -> datetime:
        """The time by the server's clock, as the workflow has it, whatever the worker's shows."""
        return self._started_at + timedelta(seconds=self._loop.time() - self.opened)

    def open(self) -> None:
        """Make it the attempt at hand."""
        _current.set(self)
        note_attempt(self)

    def begin(self, request: RunRequest) -> None:
        """Begin the next run that the activity makes, in a burst of events."""
        self.request: RunRequest = request
        self._began = self._loop.time()
        self.first_started_at = self.now()
        self.checkpoint_kept = request.checkpoint
        self.last_progress = None
        self._state_before = {}
        if self._tells_state and request.has_state:
            self.begins_with(request.state)

    # -- heartbeats

    async def keep_alive(self) -> None:
        """Heartbeat until cancelled, so that a killed worker is noticed."""
        every = self._heartbeat_timeout / 3
        # A first attempt that is short makes none: each is a write of the server, and is billed.
        pause = every if self.request.attempt > 1 else min(every, _FIRST_HEARTBEAT)
        while True:
            await asyncio.sleep(pause.total_seconds())
            self._beat()
            pause = every

    def progress(self, shown: Detail) -> None:
        """Show progress with the pending activity; also from the thread of a plain handler."""
        self._loop.call_soon_threadsafe(self._show, shown)

    def _show(self, shown: Detail) -> None:
        self.last_progress = shown
        self._beat()

    async def checkpoint(self, state: JSON, version: int) -> None:
        """Keep a state for the next attempt; durable once this returns."""
        self.checkpoint_kept = Checkpoint(
            state=state, state_version=version, run_key=self.request.idempotency_key
        )
        # The SDK holds heartbeats back, and must not send an older one after this.
        self._beat()
        handle = activity.client().get_async_activity_handle(task_token=self._info.task_token)
        try:
            await handle.heartbeat(self._mark())
        except AsyncActivityCancelledError:
            logger.debug("A checkpoint was kept of an attempt that is to end")

    def from_thread(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait in the thread of a plain handler for what its attempt's event loop does."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _beat(self) -> None:
        activity.heartbeat(self._mark())

    def _mark(self) -> Detail:
        kept = self.checkpoint_kept
        return {
            "run": self.request.idempotency_key,
            "first_started_at": self.first_started_at.isoformat(),
            "progress": self.last_progress,
            "checkpoint": kept.model_dump(mode="json") if kept else None,
        }

    # -- what it says at its end

    def executed(self) -> Executed:
        """The attempt's success, as its tracking event needs it."""
        now = self.now()
        event_id = self._event_id(now, "job.executed")
        duration = round((self._loop.time() - self._began) * 1000)
        shown = self._state_before and self._shown(
            "job.executed",
            event_id,
            now,
            {
                "durationMs": duration,
                "attempt": self.request.attempt,
                "handler": self.request.handler,
                **self._state_before,
            },
        )
        return Executed(
            event_id=event_id,
            at=now,
            duration_ms=duration,
            attempt=self.request.attempt,
            pre_state=shown.get("preExecutionState"),
            has_pre_state="preExecutionState" in shown,
        )

    def failed(self, error: BaseException) -> ApplicationError:
        """The error by which the workflow hears of the failure.

        It is final to the server, whatever follows: the workflow makes the next attempt.
        """
        raised = ApplicationError(
            message_of(error),
            FAILED_ERROR,
            self.report(error).model_dump(mode="json", exclude_defaults=True),
            *details_of(error, activity.payload_converter()),
            type=type_of(error),
            non_retryable=True,
            category=category_of(error),
        )
        raised.__cause__ = cause_of(error)
        return raised.with_traceback(error.__traceback__)

    def report(self, error: BaseException) -> Report:
        """What the failure means, by this worker's rules."""
        now = self.now()
        reached = {
            "attempt": self.request.attempt,
            "at": now,
            "type": type_of(error),
            "first_started_at": self.first_started_at,
            "checkpoint": self.checkpoint_kept,
            "progress": self.last_progress,
            "options": self.newer_options,
        }
        event_id = self._event_id(now, "job.failed")
        if isinstance(error, Snooze):
            wait = error.delay(now).total_seconds()
            return Report.model_validate(
                {**reached, "event_id": event_id, "message": "", "retry_in": wait, "snoozed": True}
            )
        decision = decide(error, self.request, self.options, self.first_started_at, now)
        wait = decision.retry_in
        if isinstance(error, RetryAfter):
            self._log_retry_after(error, wait)
        shown = self._shown(
            "job.failed",
            event_id,
            now,
            {
                "error": {"message": titled(error), "stack": stack_of(error)},
                "attempt": self.request.attempt,
                "willRetry": wait is not None,
                **self._state_before,
            },
        )
        return Report.model_validate(
            {
                **reached,
                "event_id": event_id,
                "message": shown["error"]["message"],
                "stack": shown["error"].get("stack"),
                "retry_in": wait.total_seconds() if wait is not None else None,
                "exhausted": decision.exhausted,
                "pre_state": shown.get("preExecutionState"),
                "has_pre_state": "preExecutionState" in shown,
            }
        )

    def _log_retry_after(self, error: RetryAfter, wait: timedelta | None) -> None:
        logger.warning(
            "%s: attempt %d of %s asks for another one; %s: %s",
            self.request.instance_id,
            self.request.attempt,
            self.request.handler,
            "the run has failed for good" if wait is None else f"it follows in {wait}",
            in_a_line(error),
        )

    def cut_off(self) -> BaseException:
        """The error of an attempt that was ended from outside: it does not count.

        One that its worker's shutdown ended is repeated by another worker, with its heartbeats.
        """
        if not activity.is_worker_shutdown():
            return asyncio.CancelledError()
        self._beat()
        return ApplicationError(
            "the attempt was cut off; it is made again elsewhere and does not count",
            type="WorkerShutdown",
            next_retry_delay=_AGAIN_AT_ONCE,
        )

    def begins_with(self, state: JSON) -> None:
        """Keep the state that the handler begins with, for the attempt's tracking event."""
        if size(state) <= MAX_STATE_IN_EVENT:
            self._state_before = {"preExecutionState": state}

    def _shown(self, kind: str, event_id: str, at: datetime, fields: Detail) -> Detail:
        return redacted(
            self._tracking,
            self.request,
            kind=kind,
            event_id=event_id,
            at=at,
            execution_id=self._info.workflow_run_id or "",
            fields=fields,
        )

    def _event_id(self, when: datetime, kind: str) -> str:
        request = self.request
        return uuid7_at(when, f"{request.idempotency_key}:{request.attempt}:{kind}")


def paused_by(pause: JobPause, request: RunRequest) -> ApplicationError:
    """The error of an attempt that is not begun, as its whole job is paused. It counts as none."""
    note = f": {pause.note}" if pause.note else ""
    report = Report(
        attempt=request.attempt,
        event_id="",
        at=activity.info().started_time,
        message="",
        job_pause=pause.note,
    )
    return ApplicationError(
        f"the job {request.job} is paused{note}",
        FAILED_ERROR,
        report.model_dump(mode="json", exclude_defaults=True),
        type="JobPaused",
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )


def _mark_of(details: Any) -> Detail:
    """What an attempt that the server repeats left in its heartbeats."""
    mark = details[0] if details else None
    return cast("Detail", mark) if isinstance(mark, dict) else {}
