"""Makes the runs of an instance: their attempts, what they report, what came of them."""

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from durable_jobs.protocol import Described, Detail, Executed, Report, RunResult
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.wire import JSON

from . import runs
from .instance import Instance

CANCEL_GRACE = timedelta(seconds=10)
"""How long a cancelled attempt has to end; it hears of the cancellation with a heartbeat."""


class Runner(Instance):
    """An instance that runs the user's handlers, in activities."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.run_now: runs.Run | None = None
        """The run that is under way."""

        self.done_at: datetime | None = None
        """When the last run ended, as history has it."""

        self.failure: runs.Failed | None = None
        """What made the life fail."""

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

    def reset_life(self) -> None:
        """Forget the life that ended, and how."""
        super().reset_life()
        self.failure = None
        self.done_at = None

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
                        run.attempts_before = max(run.reported, default=run.attempts_before)
                        run.first_started_at = run.first_started_at or run.began_at
                        # An activity that costs no history while no worker knows the job; then a
                        # pause, as another that does not may still take the next attempt.
                        await self.find_worker()
                        waits += 1
                        pause = timedelta(seconds=min(0.1 * 2 ** min(waits, 8), 5))
                        await self.wait(lambda: self.terminating, self.now + pause)
                    case outcome:
                        self._record(run, outcome)
                        return outcome
                # Only where no attempt is under way: its outcome comes first.
                if self.terminating:
                    return runs.Interrupted()
        finally:
            self.run_now = None

    async def find_worker(self) -> Described | None:
        """Wait until a worker of the queue knows the job; None where the life ends first."""
        raise NotImplementedError

    async def _attempts(self, run: runs.Run, summary: str) -> runs.Outcome:
        run.attempt = run.attempts_before + 1
        run.began_at = run.began_at or self.now
        run.outbox = self.outbox.take()
        handle = runs.start(run, self.ref, self.rules, summary)
        self.show()
        await workflow.wait_condition(lambda: handle.done() or self.terminating)
        if not handle.done():
            await self._cancel(handle)
        self.touch()
        self.outbox.release(run.outbox)
        if not handle.done():
            return runs.Interrupted()
        return await runs.outcome_of(run, handle, self.now)

    async def _cancel(self, handle: workflow.ActivityHandle[Any]) -> None:
        """Let the attempt end by itself: what it reports stands in history and counts."""
        handle.cancel()
        self.show()
        try:
            await workflow.wait_condition(
                handle.done, timeout=CANCEL_GRACE, timeout_summary="grace time of the last attempt"
            )
        except TimeoutError:
            workflow.logger.warning("An attempt did not end when cancelled; it is left behind")

    def _record(self, run: runs.Run, outcome: runs.Outcome) -> None:
        match outcome:
            case runs.Succeeded(result):
                if result.verdicts is not None:
                    self.outbox.settle(result.verdicts)
                self.done_at = result.executed.at if result.executed else None
                if not result.ran:
                    self.life.run_count -= 1
                elif result.executed is not None:
                    self._emit_executed(run, result.executed)
                self.life.last_error = None
                self.adopt(result.options)
            case runs.Failed(report):
                self.done_at = None if report.synthetic else report.at
                self.report(report)
                self._emit_exhausted(report)
                self.adopt(report.options)
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
        self.outbox.emit("job.executed", done.event_id, done.at, fields, task=0)

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
        }
        if report.stack is None:
            del fields["error"]["stack"]
        if report.has_pre_state:
            fields["preExecutionState"] = report.pre_state
        task = self.task if report.synthetic else 0
        self.outbox.emit("job.failed", report.event_id, report.at, fields, task=task)
        self.show()

    def _emit_exhausted(self, report: Report) -> None:
        if report.exhausted is None or self.rules.retry.max_attempts == 1:
            return
        self.emit_outcome("job.retryExhausted", attempts=report.attempt, reason=report.exhausted)

    def emit_outcome(self, kind: str, **fields: JSON) -> None:
        """Add an event that follows from the run that just ended."""
        self.emit(kind, self.done_at, settled=self.done_at is not None, **fields)

    def keep_state(self, result: RunResult) -> None:
        """Take over the state that a run left."""
        self.life.state, self.life.has_state = result.state, True
        self.life.state_version = result.state_version

    def fail(self, failed: runs.Failed) -> None:
        """End the life as failed: `on_exhausted = "terminate"`."""
        self.failure = failed
        self.ending.status = "failed"
        self.ending.reason = f"Retry exhausted after {failed.report.attempt} attempts"
        self.ending.at = self.done_at
        self.emit_terminated()

    # -- answers

    def status_word(self) -> str:
        """The one word that says what the instance does."""
        run = self.run_now
        if run is None or self.terminating or self.ended is not None:
            return super().status_word()
        return "retrying" if run.retry_at is not None else "running"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        run = self.run_now
        return {**super().status(), "attempt": run.attempt if run else 0}

    def story(self) -> str:
        """What the instance does, in a few words."""
        run = self.run_now
        if run is None or self.ended is not None:
            return super().story()
        again = f", again at {iso_ms(run.retry_at)}" if run.retry_at else ""
        return f"{run.handler}, run {run.count}, attempt {run.attempt}{again}"
