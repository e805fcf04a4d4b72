"""What an instance notes and tells of its runs: each failed attempt, and what came of a run."""

from datetime import datetime, timedelta
from typing import Any

from durable_jobs.burst import key_in_burst
from durable_jobs.protocol import Detail, Executed, Reached, Report, RunResult
from durable_jobs.tracking.endings import after_attempts
from durable_jobs.wire import JSON

from . import runs
from .instance import Instance


class Recorder(Instance):
    """An instance that keeps what its runs say. Makes none."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.run_now: runs.Run | None = None
        """The run that is under way."""

        self.run_kept: runs.Run | None = None
        """The run that continue-as-new carries, or has carried here."""

        self.done_at: datetime | None = None
        """When the last run ended, as history has it."""

        self.failure: runs.Failed | None = None
        """What made the life fail."""

    def reset_life(self) -> None:
        """Forget the life that ended, and how."""
        super().reset_life()
        self.failure = None
        self.done_at = None

    def _record(self, run: runs.Run, outcome: runs.Outcome) -> None:
        match outcome:
            case runs.Succeeded(result):
                for report in result.earlier:
                    self.report(report)
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

    def next_in_burst(self, first: runs.Run, index: int) -> runs.Run:
        """Count the run of a further event that the first one's activity handled."""
        self.life.run_count += 1
        return runs.Run(
            handler=first.handler,
            count=self.life.run_count,
            key=key_in_burst(first.key, index),
            state=self.life.state,
            has_state=self.life.has_state,
            state_version=self.life.state_version,
            began_at=self.now,
        )

    def begin_again(self, run: runs.Run, lost: int) -> None:
        """Tell of attempts of a run that may have begun in a burst that was lost."""
        self.run_now = run
        for attempt in range(1, lost + 1):
            self.report(runs.maybe_lost(run, attempt, self.now))
        run.reach_last_report()
        run.retry_at, self.run_now = None, None

    def record_burst(self, first: runs.Run, index: int, result: RunResult) -> None:
        """Note a further event that the first one's activity handled."""
        self.run_now = run = self.next_in_burst(first, index)
        self._record(run, runs.Succeeded(result))
        self.run_now = None

    def record_reached(self, run: runs.Run, reached: Reached) -> runs.Failed | None:
        """Note what ended a burst; None where its run goes on, a failure where it cannot."""
        report = reached.report
        if report is not None:
            self.run_now = run
            self.report(report)
            self.run_now = None
        if report is None or report.will_retry:
            run.reach(reached)
            return None
        failed = runs.Failed(report, runs.cause_of(report))
        self.run_now = run
        self._record(run, failed)
        self.run_now = None
        return failed

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
        if report.verdicts is not None:
            self.outbox.settle(report.verdicts)
        for earlier in report.earlier:
            self.report(earlier)
        run = self.run_now
        if run is None or report.run_key != run.key or run.knows(report.attempt):
            return
        run.reported[report.attempt] = report
        run.lost += report.lost
        # One that finished long after it was taken for lost may report late.
        run.attempt = max(run.attempt, report.attempt + report.will_retry)
        wait = report.retry_in
        run.retry_at = report.at + timedelta(seconds=wait) if wait is not None else None
        run.first_started_at = report.first_started_at or run.first_started_at
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
        self.ending.reason = after_attempts(failed.report.attempt)
        self.ending.at = self.done_at
        self.emit_terminated()
