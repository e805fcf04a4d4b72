"""What the workflows of all job types share: a life, its controls, runs, answers and its end."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.protocol import (
    DESCRIBE,
    FIND_JOB,
    JUDGE,
    REPORT_SIGNAL,
    Described,
    Detail,
    EventIn,
    Executed,
    Folded,
    JobType,
    JudgeRequest,
    Options,
    Report,
)
from durable_jobs.tracking.outbox import Outbox, OutboxCarry
from durable_jobs.wire import JSON, model_from_raw, to_raw

from . import runs
from .flush import Flusher
from .inputs import BadInput, job_ref, read_reason, read_start
from .library import call, call_anywhere, call_local

MAX_HISTORY_EVENTS = 4_000
MAX_SIGNALS = 5_000
KEPT_REJECTIONS = 20

Args = Sequence[RawValue]


class Life(BaseModel):
    """What every instance carries from one run of its workflow to the next."""

    started_at: datetime
    run_count: int = 0
    paused: str | None = None
    """Why: `user` or `exhausted`."""

    rejected: int = 0
    rejections: list[Detail] = Field(default_factory=list[Detail])
    last_error: str | None = None
    state: JSON = None
    has_state: bool = False
    state_version: int = 1
    run: Detail | None = None
    """A run whose attempts go on after continue-as-new."""


class Carry(BaseModel):
    """The input that only continue-as-new gives."""

    options: Options | None = None
    outbox: OutboxCarry
    life: Life | None = None
    """None: the last life ended, a fresh one begins."""

    extra: Detail = Field(default_factory=dict)


class Ended(BaseModel):
    """How a life ended, as its workflow's result."""

    status: str
    reason: str | None = None
    runCount: int  # noqa: N815 - a name on the wire
    discardedEvents: int = 0  # noqa: N815


class JobWorkflow:
    """Base of the three workflows. It runs no user code and reads no setting."""

    job_type: ClassVar[JobType]

    def __init__(self, *args: Any) -> None:
        self._problem: str | None = None
        self._signals = 0
        self.now = workflow.now()
        """The time of the last signal, update, timer or activity.

        The time after a local activity is another on replay (SDK 1.35), so nothing may rest on it.
        """
        try:
            start = read_start(args, self.job_type, workflow.info().workflow_id)
        except BadInput as error:
            self._problem = str(error)
            start = {"job": "?", "key": "?"}
        self.start = start
        self.ref = job_ref(start, self.job_type)
        carry = Carry.model_validate(start["carry"]) if "carry" in start else None
        self.carried = carry
        self.life = carry.life if carry and carry.life else Life(started_at=self.now)
        self.options: Options | None = carry.options if carry else None
        self.outbox = Outbox(self.ref, workflow.info().workflow_id, self._outbox_carry(carry))
        self.flusher = Flusher(self.outbox)
        self.run_now: runs.Run | None = None
        self.executing = False
        self.terminating = False
        self.terminate_reason: str | None = None
        self.discarded = 0
        self.ended: str | None = None
        self.failure: runs.Failed | None = None
        self.adopt(self.options)
        workflow.register_random_seed_callback(self._on_reset)

    @workflow.signal(dynamic=True)
    def _on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self.receive(name, args)

    @workflow.update(dynamic=True)
    async def _on_update(self, name: str, args: Sequence[RawValue]) -> RawValue:
        self.touch()
        try:
            return to_raw(await self.handle_update(name, args))
        except BadInput as error:
            raise ApplicationError(str(error), type="InvalidEvent", non_retryable=True) from error

    @_on_update.validator
    def _check_update(self, name: str, args: Sequence[RawValue]) -> None:
        try:
            self.check_update(name, args)
        except BadInput as error:
            raise ApplicationError(str(error), type="InvalidEvent", non_retryable=True) from error

    @workflow.query(name="status")
    def _on_status(self) -> RawValue:
        return to_raw(self.status())

    @workflow.query(name="state")
    def _on_state(self) -> RawValue:
        return to_raw(self.state_answer())

    def _outbox_carry(self, carry: Carry | None) -> OutboxCarry:
        first = workflow.info().first_execution_run_id
        return carry.outbox if carry else OutboxCarry(execution_id=first)

    def _on_reset(self, seed: int) -> None:
        # A reset keeps the first run ID, but what follows it is another execution.
        self.outbox.restart(workflow.info().run_id)

    # -- the life ---------------------------------------------------------------------------

    async def main(self) -> RawValue:
        """The whole run of the workflow."""
        if self._problem is not None:
            raise ApplicationError(self._problem, type="InvalidStart", non_retryable=True)
        life = asyncio.create_task(self._live())
        while not life.done():
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                self.touch()
                self.request_terminate("cancelled")
        return life.result()

    async def _live(self) -> RawValue:
        if self.options is None:
            self.adopt(await self._describe())
        while True:
            self.on_described()
            self.flusher.start()
            if await self.live():
                await self._settle_handlers()
                await self.flusher.stop()
                self._continue_as_new(self.life, self.carry_extra())
            await self._wind_up()
            fresh = self.fresh_extra()
            if fresh is None:
                break
            if self.ended != "completed":
                self._continue_as_new(None, fresh)
            # Nothing was cut short: the same life goes on with what came while it ended.
            self.ended = None
        self.show()
        if self.failure is not None:
            raise ApplicationError(
                self.terminate_reason or "failed", type="RetryExhausted", non_retryable=True
            ) from self.failure.cause
        return to_raw(self.result())

    async def _wind_up(self) -> None:
        while True:
            await self._settle_handlers()
            await self.flusher.finish()
            if workflow.all_handlers_finished():
                return

    async def live(self) -> bool:
        """Do the job's work. Returns True to continue as new, False at the life's end."""
        raise NotImplementedError

    def on_described(self) -> None:
        """Called once the options are known, before `live`."""

    def carry_extra(self) -> Detail:
        """What the job type carries through continue-as-new beside the common part."""
        return {}

    def fresh_extra(self) -> Detail | None:
        """What reached the instance after its end was decided; None where nothing did."""
        return None

    async def _describe(self) -> Options:
        found = await call_local(DESCRIBE, self.ref, Described)
        if found is None or not found.known:
            self.life.last_error = found.message if found else "no worker could read the job"
            self.show()
            found = await call_anywhere(FIND_JOB, self.ref, Described, "find a worker with the job")
            self.life.last_error = None
        if found.options is None:
            raise ApplicationError("a worker knows the job but gave no options")
        return found.options

    def adopt(self, options: Options | None) -> None:
        """Take over options, as recorded in history."""
        if options is not None:
            self.options = options
            self.outbox.identity = options.tracking

    @property
    def rules(self) -> Options:
        """The options, once known."""
        if self.options is None:
            raise RuntimeError("options are not known yet")
        return self.options

    def result(self) -> Ended:
        """The workflow's result."""
        return Ended(
            status=self.ended or "completed",
            reason=self.terminate_reason,
            runCount=self.life.run_count,
            discardedEvents=self.discarded,
        )

    async def _settle_handlers(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)

    def _continue_as_new(self, life: Life | None, extra: Detail) -> None:
        carry = Carry(options=self.options, outbox=self.outbox.carry(), life=life, extra=extra)
        again = {"job": self.ref.job, "key": self.ref.key, "carry": carry.model_dump(mode="json")}
        workflow.continue_as_new(to_raw(again))

    def should_continue_as_new(self) -> bool:
        """Whether this run's history is long enough."""
        info = workflow.info()
        return (
            info.is_continue_as_new_suggested()
            or info.get_current_history_length() > MAX_HISTORY_EVENTS
            or self._signals > MAX_SIGNALS
        )

    def touch(self) -> None:
        """Note the time; only right after a signal, an update, a timer or an activity."""
        self.now = workflow.now()

    # -- waiting ------------------------------------------------------------------------------

    async def wait(
        self, condition: Callable[[], bool], until: datetime | None = None, what: str = ""
    ) -> None:
        """Wait for a condition, or a time; `what` names the timer in the Temporal UI."""
        self.show()
        if until is None:
            await workflow.wait_condition(condition)
            return
        left = (until - workflow.now()).total_seconds()
        try:
            await workflow.wait_condition(
                condition, timeout=max(left, 0.001), timeout_summary=what or None
            )
        except TimeoutError:
            self.touch()

    # -- runs ---------------------------------------------------------------------------------

    def new_run(
        self, handler: str, detail: Detail, *, deadline: datetime | None = None
    ) -> runs.Run:
        """Count a run and mint its idempotency key."""
        self.life.run_count += 1
        return runs.Run(
            handler=handler,
            count=self.life.run_count,
            key=str(workflow.uuid4()),
            state=self.life.state,
            has_state=self.life.has_state,
            state_version=self.life.state_version,
            detail=detail,
            deadline=deadline,
        )

    async def execute(
        self, run: runs.Run, summary: str
    ) -> runs.Succeeded | runs.Failed | runs.Interrupted:
        """Make a run's attempts until one succeeds or the run has failed for good."""
        self.run_now = run
        waits = 0
        try:
            while True:
                match await self._attempts(run, summary):
                    case runs.CutOff(attempts_before, first_started_at):
                        run.attempts_before = attempts_before
                        run.first_started_at = first_started_at
                    case runs.Unknown(message):
                        self.life.last_error = message
                        waits += 1
                        pause = timedelta(seconds=min(0.2 * 2**waits, 30))
                        await self.wait(lambda: self.terminating, self.now + pause)
                    case outcome:
                        self._record(run, outcome)
                        return outcome
                if self.terminating:
                    return runs.Interrupted()
        finally:
            self.run_now = None

    async def _attempts(self, run: runs.Run, summary: str) -> runs.Outcome:
        run.attempt = run.attempts_before + 1
        run.outbox = self.outbox.take() if self.outbox.ready else []
        handle = runs.start(run, self.ref, self.rules, summary)
        self.executing = True
        self.show()
        await workflow.wait_condition(lambda: handle.done() or self.terminating)
        self.touch()
        if not handle.done():
            handle.cancel()
        try:
            return await runs.outcome_of(run, handle, self.now)
        finally:
            self.executing = False
            self.outbox.release(run.outbox)

    def _record(self, run: runs.Run, outcome: runs.Outcome) -> None:
        match outcome:
            case runs.Succeeded(result):
                if result.verdicts is not None:
                    self.outbox.settle(result.verdicts)
                if not result.ran:
                    self.life.run_count -= 1
                elif result.executed is not None:
                    self._emit_executed(run, result.executed)
                self.life.last_error = None
                self.adopt(result.options)
            case runs.Failed(report):
                self.report(report)
                self._emit_exhausted(report)
            case _:
                pass

    def _emit_executed(self, run: runs.Run, done: Executed) -> None:
        fields: Detail = {
            "runCount": run.count,
            "durationMs": done.duration_ms,
            "attempt": done.attempt,
            "handler": run.handler,
        }
        if done.has_pre_state:
            fields["preExecutionState"] = done.pre_state
        self.outbox.emit("job.executed", done.event_id, done.at, fields)

    def report(self, report: Report) -> None:
        """Note a failed attempt; the first report of each attempt wins."""
        run = self.run_now
        if run is None or report.run_key != run.key or report.attempt in run.reported:
            return
        run.reported[report.attempt] = report
        run.attempt = report.attempt + 1 if report.will_retry else report.attempt
        wait = report.retry_in
        run.retry_at = report.at + timedelta(seconds=wait) if wait is not None else None
        self.life.last_error = report.message
        fields: Detail = {
            "error": {"message": report.message, "stack": report.stack},
            "runCount": run.count,
            "attempt": report.attempt,
            "willRetry": report.will_retry,
            "handler": run.handler,
        }
        if report.stack is None:
            del fields["error"]["stack"]
        if report.has_pre_state:
            fields["preExecutionState"] = report.pre_state
        self.outbox.emit("job.failed", report.event_id, report.at, fields)
        self.show()

    def _emit_exhausted(self, report: Report) -> None:
        if report.exhausted is None or self.rules.retry.max_attempts == 1:
            return
        self.emit("job.retryExhausted", attempts=report.attempt, reason=report.exhausted)

    def emit(self, kind: str, at: datetime | None = None, **fields: JSON) -> None:
        """Add an event of the workflow's own to the outbox."""
        self.outbox.emit(kind, None, at or self.now, fields)

    def fail(self, failed: runs.Failed) -> None:
        """End the life as failed: `on_exhausted = "terminate"`."""
        self.failure = failed
        self.ended = "failed"
        self.terminate_reason = f"Retry exhausted after {failed.report.attempt} attempts"
        self.emit_terminated()

    def emit_terminated(self) -> None:
        """Say that the life ended, and what was dropped."""
        self.emit(
            "job.terminated",
            reason=self.terminate_reason,
            runCount=self.life.run_count,
            discardedEvents=self.discarded,
        )

    # -- what callers ask for -----------------------------------------------------------------

    def request_terminate(self, reason: str | None) -> None:
        """Begin to end the life; what waits is dropped and counted, what comes later is not."""
        if self.terminating or self.ended is not None:
            return
        self.terminating = True
        self.terminate_reason = reason
        self.discarded += self.discard_waiting()

    def discard_waiting(self) -> int:
        """Drop the events that wait; returns how many."""
        return 0

    def pause(self) -> None:
        """Start nothing new until resumed."""
        self.life.paused = self.life.paused or "user"

    def resume(self) -> None:
        """Go on."""
        self.life.paused = None

    def reject(self, reason: str, event_id: str | None = None) -> None:
        """Count an event that was not taken, and keep why."""
        self.life.rejected += 1
        entry: Detail = {"at": self.now.isoformat(), "reason": reason[:500]}
        if event_id is not None:
            entry["id"] = event_id
        self.life.rejections = [*self.life.rejections, entry][-KEPT_REJECTIONS:]

    def handle_signal(self, name: str, args: Args) -> None:
        """Take any signal; raises nothing but `BadInput`."""
        match name:
            case "pause":
                self.pause()
            case "resume":
                self.resume()
            case "terminate":
                self.request_terminate(read_reason(args))
            case _:
                workflow.logger.warning("Ignored the unknown signal %r", name)

    async def handle_update(self, name: str, args: Args) -> JSON:
        """Answer any update that `check_update` let pass."""
        self.handle_signal(name, args)
        return {"status": self.status_word()}

    def check_update(self, name: str, args: Args) -> None:
        """Refuse an update by raising `BadInput`; leaves no trace in history."""
        if name not in {"pause", "resume", "terminate"}:
            raise BadInput(f"{self.job_type} jobs take no update {name!r}")

    def on_bad_signal(self, name: str, error: BadInput) -> None:
        """Count a signal that had the wrong shape."""
        self.reject(f"{name}: {error}")

    def receive(self, name: str, args: Args) -> None:
        """Entry of all signals; never raises, whatever was sent."""
        self._signals += 1
        self.touch()
        if name == REPORT_SIGNAL:
            self._receive_report(args)
            return
        try:
            self.handle_signal(name, args)
        except BadInput as error:
            self.on_bad_signal(name, error)

    def _receive_report(self, args: Args) -> None:
        try:
            self.report(model_from_raw(Report, args[0]))
        except (ValueError, IndexError):
            workflow.logger.warning("Ignored a report that is none")

    async def judge(self, event: EventIn) -> None:
        """Ask a worker whether an event fits; raises `ApplicationError` where it does not."""
        request = JudgeRequest(**self.ref.model_dump(), events=[event])
        answer = await call(JUDGE, request, Folded, "judge an event")
        if answer.rejected:
            raise ApplicationError(
                answer.rejected[0].reason, type="InvalidEvent", non_retryable=True
            )

    # -- answers ------------------------------------------------------------------------------

    def status_word(self) -> str:
        """The one word that says what the instance does."""
        if self.ended is not None:
            return self.ended
        if self.terminating:
            return "terminating"
        if self.run_now is not None:
            return "retrying" if self.run_now.retry_at is not None else "running"
        return "paused" if self.life.paused else self.waiting_word()

    def waiting_word(self) -> str:
        """The status of an instance that runs nothing."""
        return "idle"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        run = self.run_now
        return {
            "jobType": self.job_type,
            "jobName": self.ref.job,
            "key": self.ref.key,
            "instanceId": workflow.info().workflow_id,
            "status": self.status_word(),
            "runCount": self.life.run_count,
            "attempt": run.attempt if run else 0,
            "eventCount": 0,
            "nextRunAt": None,
            "willFlushAt": None,
            "startedAt": self.life.started_at.isoformat(),
            "lastError": self.life.last_error,
            "rejectedEvents": self.life.rejected,
            "rejections": self.life.rejections,
            "tracking": self.outbox.status(),
        }

    def state_answer(self) -> Detail:
        """What the query `state` folds its answer from."""
        return {
            "state": self.life.state,
            "has_state": self.life.has_state,
            "state_version": self.life.state_version,
            "events": [],
        }

    def show(self) -> None:
        """Tell the Temporal UI what the instance does."""
        error = f"\n\nLast error: {self.life.last_error}" if self.life.last_error else ""
        workflow.set_current_details(
            f"**{self.ref.job}** for `{self.ref.key}`: {self.story()}{error}"
        )

    def story(self) -> str:
        """What the instance does, in a few words."""
        run = self.run_now
        if run is not None and self.ended is None:
            return f"{run.handler}, run {run.count}, attempt {run.attempt}"
        return self.status_word()
