"""One attempt of a run: its time, its heartbeats, its report when it fails."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from durable_jobs.errors import RetryAfter
from durable_jobs.names import FAILED_ERROR, REPORT_SIGNAL, SHUTDOWN_ERROR, YIELD_ERROR
from durable_jobs.protocol import (
    Checkpoint,
    Detail,
    Executed,
    Options,
    Reached,
    Report,
    RunRequest,
    Verdicts,
)
from durable_jobs.wire import JSON, size, to_raw

from .checkpoints import Checkpoints, mark_of
from .config import Tracking
from .failures import (
    Decision,
    category_of,
    cause_of,
    decide,
    details_of,
    in_a_line,
    limits,
    message_of,
    stack_of,
    titled,
    type_of,
)
from .ids import uuid7_at
from .unplaced import redacted

logger: logging.Logger = logging.getLogger(__name__)

MAX_STATE_IN_EVENT = 64 * 1024
MAX_ATTEMPTS = 300
"""Of one activity. Each failed attempt costs history, so the workflow goes on with another one."""

_SIGNAL_TIMEOUT = timedelta(seconds=5)
_FIRST_HEARTBEAT = timedelta(seconds=1)
_AGAIN = Decision(retry_in=timedelta())
_LOST = "the attempt was lost with its worker or timed out"


_current: ContextVar["Attempt"] = ContextVar("durable_jobs_attempt")


def current_attempt() -> "Attempt":
    """The attempt that the interceptor opened around the handler at hand."""
    return _current.get()


class Attempt:
    """Watches over one attempt. Its heartbeat details tell the next one what became of it."""

    def __init__(self, request: RunRequest, tracking: Tracking | None) -> None:
        info = activity.info()
        self.request = request
        self.number: int = request.attempts_before + info.attempt
        self.newer_options: Options | None = None
        """The worker's options, where they are not those of the request."""

        self._info = info
        self._tracking = tracking
        self._state_before: Detail = {}
        if request.include_state and request.has_state and request.job_type != "debounce":
            # Until the handler begins; a debounce's is folded from events first.
            self.begins_with(request.state)
        self._started_at = info.started_time
        self._loop = asyncio.get_running_loop()
        self._opened = self._began = self._loop.time()
        before = mark_of(info.heartbeat_details)
        self._before = before
        self._lost: int = before.get("lost", 0)
        self._checkpoints = Checkpoints(request, before)
        self.first_started_at: datetime = self._first_start(before)
        """When the run's first attempt began."""

        self._closed: int = before.get("closed", request.attempts_before)
        """The attempts up to this one have been reported."""

        self.unreported: list[Report] = []
        """What the workflow could not be told yet: it hears of it with the outcome."""

        self.verdicts: Verdicts | None = None
        """On the events that it took along; told with the failures."""

        self._mark: Detail = {
            "attempt": self.number,
            "first_started_at": self.first_started_at.isoformat(),
            "closed": self._closed,
            "lost": self._lost,
            **self._checkpoints.mark(),
        }

    def _first_start(self, before: Detail) -> datetime:
        if "first_started_at" in before:
            return datetime.fromisoformat(before["first_started_at"])
        if self.request.first_started_at is not None:
            return self.request.first_started_at
        if self._info.attempt == 1:
            return self._started_at
        # The first one was lost before its first heartbeat, and noticed by the lack of it.
        lost_at = self._info.current_attempt_scheduled_time - self._heartbeat_timeout
        return max(self._info.scheduled_time, lost_at)

    @property
    def _heartbeat_timeout(self) -> timedelta:
        return self._info.heartbeat_timeout or timedelta(seconds=15)

    def now(self) -> datetime:
        """The time by the server's clock, as the workflow has it, whatever the worker's shows."""
        return self._started_at + timedelta(seconds=self._loop.time() - self._opened)

    async def open(self) -> None:
        """Report predecessors that could not report themselves; refuse to begin too late."""
        _current.set(self)
        lost = [self._lost_one(number) for number in range(self._closed + 1, self.number)]
        if self._info.attempt > 1:
            self._beat()
        if not lost:
            return
        *self.unreported, last = lost
        if not last.will_retry:
            report = self._with_earlier(last)
            raise ApplicationError(
                report.message,
                FAILED_ERROR,
                report.model_dump(mode="json"),
                type="AttemptLost",
                non_retryable=True,
            )
        if self._info.attempt > MAX_ATTEMPTS:
            raise self._yielded(last)
        await self._announce(last)

    def _lost_one(self, number: int) -> Report:
        for unreported in self._before.get("reports", []):
            if unreported["attempt"] == number:
                return Report.model_validate(unreported)
        self._lost += 1
        self._mark["lost"] = self._lost
        too_late = number == self.number - 1 and any(
            self._started_at >= limit for limit in limits(self.request, self.first_started_at)
        )
        decision = Decision(exhausted="max_duration") if too_late else _AGAIN
        return self._lost_report(number, decision)

    def _lost_report(self, number: int, decision: Decision = _AGAIN) -> Report:
        return self._report(TimeoutError(_LOST), decision, number, lost=True)

    def _with_earlier(self, report: Report) -> Report:
        return report.model_copy(update={"earlier": self.unreported, "verdicts": self.verdicts})

    def begin(self, request: RunRequest) -> None:
        """Begin the next run that the activity makes, in a burst of events."""
        self.request: RunRequest = request
        # A lost activity may have come this far.
        self.number = 1 + self._lost
        self._began = self._loop.time()
        self.first_started_at = self.now()
        self._checkpoints.begin(request)
        self._state_before = {}
        if request.include_state and request.has_state:
            self.begins_with(request.state)
        self.unreported = [self._lost_report(number) for number in range(1, self.number)]

    async def keep_alive(self) -> None:
        """Heartbeat until cancelled, so that a killed worker is noticed."""
        every = self._heartbeat_timeout / 3
        # A first attempt that is short makes none: each is a write of the server, and is billed.
        pause = every if self._info.attempt > 1 else min(every, _FIRST_HEARTBEAT)
        while True:
            await asyncio.sleep(pause.total_seconds())
            self._beat()
            pause = every

    def progress(self, shown: Detail) -> None:
        """Show progress with the pending activity; also from the thread of a plain handler."""
        self._loop.call_soon_threadsafe(self._show, shown)

    def _show(self, shown: Detail) -> None:
        self._checkpoints.progress = shown
        self._mark |= self._checkpoints.mark()
        self._beat()

    @property
    def last_progress(self) -> Detail | None:
        """What an earlier attempt of the run last said of its progress."""
        return self._checkpoints.progress

    @property
    def restored(self) -> Checkpoint | None:
        """The checkpoint that the attempt goes on from, where an earlier one made it."""
        return self._checkpoints.kept

    async def checkpoint(self, state: JSON, version: int) -> None:
        """Keep a state for the next attempt; durable once this returns."""
        self._checkpoints.keep(state, version)
        self._mark |= self._checkpoints.mark()
        # The SDK holds heartbeats back, and must not send an older one after this.
        self._beat()
        handle = activity.client().get_async_activity_handle(task_token=self._info.task_token)
        try:
            await handle.heartbeat(self._mark)
        except AsyncActivityCancelledError:
            logger.debug("A checkpoint was kept of an attempt that is to end")

    def from_thread(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait in the thread of a plain handler for what its attempt's event loop does."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _beat(self) -> None:
        activity.heartbeat(self._mark)

    def executed(self) -> Executed:
        """The attempt's success, as its tracking event needs it."""
        now = self.now()
        event_id = self._event_id(now, self.number, "job.executed")
        duration = round((self._loop.time() - self._began) * 1000)
        shown = self._state_before and self._shown(
            "job.executed",
            event_id,
            now,
            {
                "durationMs": duration,
                "attempt": self.number,
                "handler": self.request.handler,
                **self._state_before,
            },
        )
        return Executed(
            event_id=event_id,
            at=now,
            duration_ms=duration,
            attempt=self.number,
            pre_state=shown.get("preExecutionState"),
            has_pre_state="preExecutionState" in shown,
        )

    async def failed(self, error: BaseException) -> ApplicationError:
        """Report the failure; returns the error by which Temporal retries or gives up."""
        decision = self._decide(error)
        report = self._report(error, decision, self.number)
        if decision.retry_in is not None and self._goes_on_elsewhere():
            return self._yielded(report, category_of(error))
        if decision.retry_in is None:
            details = [FAILED_ERROR, self._with_earlier(report).model_dump(mode="json")]
        else:
            details = details_of(error, activity.payload_converter())
            await self._announce(report)
        raised = ApplicationError(
            message_of(error),
            *details,
            type=type_of(error),
            non_retryable=decision.retry_in is None,
            next_retry_delay=decision.retry_in,
            category=category_of(error),
        )
        raised.__cause__ = cause_of(error)
        return raised.with_traceback(error.__traceback__)

    def _goes_on_elsewhere(self) -> bool:
        # The workflow has to know a checkpoint: it may cancel the activity in a long backoff.
        enough = self.request.alone or self._info.attempt >= MAX_ATTEMPTS
        return enough or self._checkpoints.is_new

    def reached(self, error: BaseException | None) -> Reached:
        """How far a run of a burst got, for the workflow to go on from; None where cut off."""
        if error is None:
            return self._reached(self.number - 1)
        report = self._report(error, self._decide(error), self.number)
        return self._reached(self.number, self._with_earlier(report))

    def _reached(self, attempts: int, report: Report | None = None) -> Reached:
        return Reached(
            attempts_before=attempts,
            first_started_at=self.first_started_at,
            report=report,
            checkpoint=self._checkpoints.kept,
            progress=self._checkpoints.progress,
        )

    def _decide(self, error: BaseException) -> Decision:
        decision = decide(error, self.request, self.number, self.first_started_at, self.now())
        if isinstance(error, RetryAfter):
            wait = decision.retry_in
            logger.warning(
                "%s: attempt %d of %s asks for another one; %s: %s",
                self.request.instance_id,
                self.number,
                self.request.handler,
                "the run has failed for good" if wait is None else f"it follows in {wait}",
                in_a_line(error),
            )
        return decision

    def cut_off(self) -> BaseException:
        """The error of an attempt that was ended from outside: it does not count.

        One that was cancelled needs none of ours, unless there is a checkpoint to hand on.
        """
        if not activity.is_worker_shutdown() and not self._checkpoints.is_new:
            return asyncio.CancelledError()
        return self._stopped(
            SHUTDOWN_ERROR,
            "the attempt was cut off; it is made again elsewhere and does not count",
            self._reached(self.number - 1, self._newest_unreported()),
        )

    def _newest_unreported(self) -> Report | None:
        if not self.unreported:
            return None
        *earlier, newest = self.unreported
        return newest.model_copy(update={"earlier": earlier})

    def _yielded(
        self,
        report: Report,
        category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
    ) -> ApplicationError:
        """The error of a failed attempt after which another activity goes on with the run."""
        reached = self._reached(report.attempt, self._with_earlier(report))
        return self._stopped(YIELD_ERROR, report.message, reached, category)

    def _stopped(
        self,
        why: str,
        message: str,
        reached: Reached,
        category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
    ) -> ApplicationError:
        kind = why.rsplit(".", 1)[-1]
        details = (why, reached.model_dump(mode="json"))
        return ApplicationError(message, *details, type=kind, non_retryable=True, category=category)

    async def _announce(self, report: Report) -> None:
        """Tell the workflow now, or else with this attempt's outcome, or the next one does."""
        self._mark["reports"] = [
            each.model_dump(mode="json") for each in (*self.unreported, report)
        ]
        self._beat()
        if await self._signal(self._with_earlier(report)):
            del self._mark["reports"]
            self._mark["closed"] = report.attempt
            self.unreported = []
            self._beat()
        else:
            self.unreported.append(report)

    async def _signal(self, report: Report) -> bool:
        workflow_id = self.request.instance_id
        handle = activity.client().get_workflow_handle(workflow_id)
        try:
            await handle.signal(REPORT_SIGNAL, to_raw(report), rpc_timeout=_SIGNAL_TIMEOUT)
        except RPCError as error:
            logger.warning(
                "Could not report attempt %d of %s: %s", report.attempt, workflow_id, error
            )
            return False
        return True

    def _report(
        self, error: BaseException, decision: Decision, attempt: int, *, lost: bool = False
    ) -> Report:
        now = self.now()
        wait = decision.retry_in
        event_id = self._event_id(now, attempt, "job.failed")
        shown = self._shown(
            "job.failed",
            event_id,
            now,
            {
                # Nobody raised the error of a lost one: it has no stack, and its type says nothing.
                "error": {"message": message_of(error)}
                if lost
                else {"message": titled(error), "stack": stack_of(error)},
                "attempt": attempt,
                "willRetry": wait is not None,
                **self._state_before,
            },
        )
        return Report(
            run_key=self.request.idempotency_key,
            handler=self.request.handler,
            attempt=attempt,
            will_retry=wait is not None,
            event_id=event_id,
            at=now,
            message=shown["error"]["message"],
            type=type_of(error),
            stack=shown["error"].get("stack"),
            exhausted=decision.exhausted,
            lost=lost,
            options=self.newer_options if wait is None else None,
            retry_in=wait.total_seconds() if wait is not None else None,
            first_started_at=self.first_started_at,
            pre_state=shown.get("preExecutionState"),
            has_pre_state="preExecutionState" in shown,
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

    def _event_id(self, when: datetime, attempt: int, kind: str) -> str:
        return uuid7_at(when, f"{self.request.idempotency_key}:{attempt}:{kind}")
