"""The workflow of debounce jobs: gathers events, flushes them, window after window."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from durable_jobs.definitions.windows import first_flush_at
from durable_jobs.names import FOLD
from durable_jobs.protocol import Detail, RunResult
from durable_jobs.questions import Folded, Opening, Rejected

from . import runs
from .flush import PROMPT
from .gathered import Gathered
from .gathering import GatheringWorkflow
from .inputs import raw_start
from .library import call
from .texts import values_of
from .window import FLUSH_REASONS, WIRE_REASONS


@workflow.defn(name="DebounceJob", sandboxed=False)
class DebounceWorkflow(GatheringWorkflow):
    """One debounce instance."""

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._folding = False

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until a window was flushed and nothing waits."""
        return await self.main()

    # -- the windows

    async def live(self) -> bool:
        """Flush window after window until nothing waits."""
        if (kept := self.take_up(self._detail())) is not None:
            await self._fly(self._made_of_batch(kept))
        while not self._over() and self.run_kept is None:
            reason = await self._gather()
            if reason is not None and not self.terminating:
                await self._flush(reason)
            elif not self._over():
                return True
        if not self._over():
            return True
        self._finish()
        return False

    def _over(self) -> bool:
        return self.ended is not None or self.terminating or self._nothing_left()

    def _nothing_left(self) -> bool:
        return (
            self._touched
            and self.run_kept is None
            and self._waiting.window is None
            and self.life.paused is None
            and not self._expires()
            and workflow.all_handlers_finished()
        )

    def _expires(self) -> bool:
        until = self._idle_until()
        return until is not None and not self._cleared and self.now < until

    def _idle_until(self) -> datetime | None:
        """Until when an instance with nothing to do lives: it knows ids, or is not quiet yet."""
        memory = self._windows.memory
        seen = self._seen.until(memory) if memory else None
        return max(filter(None, (seen, self._quiet_at)), default=None)

    def _finish(self) -> None:
        if self.ended is not None:
            return
        if self._cleared and not self.terminating:
            self.ending.asked, self.ending.reason = True, "cleared"
        self.ending.status = "terminated" if self.terminating else "completed"
        if self.terminating:
            self.emit_terminated()

    async def _gather(self) -> str | None:
        """Wait for the window to be due; None where there is nothing to flush."""
        while not (self._over() or self._carry_now()):
            if self._leads():
                return "leading"
            self._announce()
            # Before anything leaves: what a command carries must stay small.
            if self._too_much():
                await self._fold_ahead()
                continue
            reason = self._due()
            if reason is not None:
                return reason
            await self._wait_for_change()
        return None

    def _too_much(self) -> bool:
        """Whether to fold ahead: not where a list is so long that it flushes without its end."""
        window, rules = self._waiting.window, self._windows
        whole = rules.most_bytes is None or window is None or window.bytes < rules.most_bytes
        return self._waiting.too_much and whole

    def _carry_now(self) -> bool:
        ready = self.waiting_fits() and workflow.all_handlers_finished()
        return ready and self.should_continue_as_new()

    def _due(self) -> str | None:
        paused = self.life.paused is not None
        window = self._waiting.window
        reason = self._waiting.due(self._windows, paused=paused)
        if reason is None and window is not None and not paused:
            return window.expired(self._windows, self.now)
        return reason

    async def _wait_for_change(self) -> None:
        rules = self._windows
        before = self._waiting.window is None, self.life.paused
        paused = self.life.paused is not None
        await self.wait(
            lambda: (
                self._over()
                or self._carry_now()
                or self._waiting.due(rules, paused=paused) is not None
                or (self._waiting.window is None, self.life.paused) != before
                or self._leads()
                or self._too_much()
            ),
            self._flush_at() if self._waiting.window else self._idle_until(),
            self._timer_summary(),
        )

    async def _fold_ahead(self) -> None:
        waiting = self._waiting
        await self._fold(waiting.to_fold, lambda: waiting is self._waiting)
        await self.let_signals_in()

    async def _fold(self, gathered: Gathered, still: Callable[[], bool]) -> None:
        """Fold the oldest events; without effect where they are not what they were any more."""
        request = gathered.fold_request(self.ref)
        count = len(request.events)
        asked = gathered.events[:count]
        try:
            folded = await call(FOLD, request, Folded, f"fold {count} events ahead")
        except FailureError as error:
            cause = error.cause
            self.life.last_error = cause.message if isinstance(cause, FailureError) else str(error)
            gathered.fold_failed = True
            return
        if not still():
            return
        for item in folded.rejected:
            self.reject(item.reason, asked[item.index].id)
        gathered.apply_fold(count, folded)
        self.weigh_again()

    async def _fold_beside(self) -> None:
        """Fold what comes during a run which continue-as-new is to carry."""
        while True:
            await workflow.wait_condition(self._needs_room)
            self._folding = True
            await self._fold_ahead()
            self._folding = False

    def _needs_room(self) -> bool:
        run = self.run_now
        if run is None or not self._too_much():
            return False
        return self.should_continue_as_new() if run.outside else self.is_crowded()

    async def make_room(self, run: runs.Run) -> None:
        """Fold what the run is to flush, where it is much; what waits is folded beside."""
        if self._needs_room():
            await workflow.wait_condition(lambda: not self._needs_room() or self.terminating)
        batch = self._in_flight
        while self._windows.most_bytes is None and batch.too_much:
            await self._fold(batch, lambda: True)
        run.detail = self._detail()
        self._made_of_batch(run)

    def least_extra(self, run: runs.Run) -> Detail:
        """What is carried once what the run is to flush was folded."""
        extra, batch = self.carry_extra(), self._in_flight
        if self._windows.most_bytes is None and batch.too_much and run.place is None:
            extra["in_flight"] = {**extra["in_flight"], "events": []}
        return extra

    def _announce(self) -> None:
        """Emit `debounce.started`, never while a run is under way, whose outcome comes first."""
        window = self._waiting.window
        if window is None or self._waiting.announced or self._leads():
            return
        self._waiting.announced = True
        settled = window.opened_at == workflow.info().workflow_start_time
        self._emit_opening(window.opened_at, 0 if settled else self.task)

    def _emit_opening(self, opened_at: datetime, task: int) -> None:
        at = first_flush_at(opened_at, self.rules.spec)
        self.outbox.emit_opening(opened_at, at, task=task)

    def opening(self) -> Opening | None:
        """See base class."""
        if self._first_window is None or self.outbox.sequence:
            return None
        window, leads = self._first_window
        return Opening(
            execution_id=self.outbox.execution_id,
            opened_at=window.opened_at,
            leads=leads,
            flush_from=PROMPT.total_seconds(),
        )

    def tell_opening(self, opening: Opening) -> None:
        """See base class."""
        if opening.leads and self._windows.leading:
            return
        self._emit_opening(opening.opened_at, 0)
        if self._first_window is not None and self._waiting.window is self._first_window[0]:
            self._waiting.announced = True

    def _timer_summary(self) -> str:
        if self._waiting.window is None:
            return "forget what came before"
        return f"flush {self.ref.key} ({self._waiting.next_reason(self._windows)})"

    # -- a flush

    async def _flush(self, reason: str) -> None:
        batch, self._waiting = self._waiting.take(reason, self._windows)
        self._in_flight = batch
        if reason == "leading" and batch.window is not None:
            self._quiet_at = batch.window.flush_at(self._windows)
        opened_at = batch.window.opened_at if batch.window else self.now
        self._flight = {
            "reason": reason,
            "opened_at": opened_at.isoformat(),
            "duration": round((self.now - opened_at).total_seconds() * 1000),
        }
        await self._fly(self._made_of_batch(self.new_run("execute", self._detail())))

    async def _fly(self, run: runs.Run) -> None:
        batch, reason = self._in_flight, self._flight["reason"]
        outcome = await self._execute_beside(run, f"{batch.told}, {reason}")
        if isinstance(outcome, runs.Carried):
            return
        self._in_flight = Gathered()
        match outcome:
            case runs.Succeeded(result):
                self._flushed(batch, reason, self._flight["duration"], result)
            case runs.Failed():
                self._exhausted(batch, outcome)
            case runs.Interrupted():
                self.ending.discarded += batch.count

    async def _execute_beside(self, run: runs.Run, summary: str) -> runs.Ended:
        folding = asyncio.create_task(self._fold_beside())
        try:
            outcome = await self.execute(run, summary)
            # What is being folded belongs to the next window, whatever that becomes. Where nothing
            # is, not even a turn of the loop may pass: the flusher would take it.
            if self._folding:
                await workflow.wait_condition(lambda: not self._folding or self.terminating)
        finally:
            folding.cancel()
        return outcome

    def _detail(self) -> Detail:
        return {
            "events": values_of(self._in_flight.events),
            "folded": self._in_flight.folded,
            "flush_reason": self._flight.get("reason"),
            "opened_at": self._flight.get("opened_at"),
        }

    def _made_of_batch(self, run: runs.Run) -> runs.Run:
        batch = self._in_flight
        run.state, run.has_state = batch.base, batch.has_base
        run.state_version = batch.base_version
        return run

    def _flushed(self, batch: Gathered, reason: str, duration: int, result: RunResult) -> None:
        for rejected in map(Rejected.model_validate, result.detail["rejected"]):
            self.reject(rejected.reason, batch.events[rejected.index].id)
        if result.ran:
            self.keep_state(result)
        if reason != "leading":
            self.emit_outcome(
                "debounce.flushed",
                eventCount=result.detail["count"],
                reason=WIRE_REASONS[reason],
                flushReason=FLUSH_REASONS[reason],
                durationMs=duration,
            )
        elif not result.ran:
            # What was rejected led nothing.
            self._quiet_at = None
        if self.life.paused == "exhausted":
            self.life.resume(self.now, by="exhausted")
        self.end_by_run(result)

    def _exhausted(self, batch: Gathered, failed: runs.Failed) -> None:
        match self.rules.on_exhausted:
            case "terminate":
                self.ending.discarded += batch.count
                self.fail(failed)
            case _ if self.terminating:
                # A caller ended the life meanwhile: there is no next flush of it.
                self.ending.discarded += batch.count
            case "pause":
                self._put_back(batch, keep_window=True)
                self.life.pause("exhausted", self.now)
            case "continue":
                self._put_back(batch, keep_window=False)
                self._open()

    def _put_back(self, batch: Gathered, *, keep_window: bool) -> None:
        for event in batch.known_to(self._waiting):
            self.reject("its id is that of an event whose run failed, which waits again", event.id)
        self._waiting = batch.before(self._waiting, keep_window=keep_window)

    # -- continue-as-new

    def carry_extra(self) -> Detail:
        """What waits, and what was cleared."""
        return {
            **self._carried_events(),
            "cleared": self.ending.condemned if self._cleared else None,
            "in_flight": self._in_flight.carry(),
            "flight": self._flight,
        }

    def _carried_events(self) -> Detail:
        seen = self._seen.model_dump(mode="json")
        quiet = self._quiet_at.isoformat() if self._quiet_at else None
        return {
            "waiting": self._waiting.carry(),
            "seen": seen,
            "quiet_at": quiet,
        }

    def fresh_extra(self) -> Detail | None:
        """Events that came while the life ended."""
        if self._waiting.window is None:
            return None
        return self._carried_events()

    def waiting_fits(self) -> bool:
        """See base class."""
        return self._waiting.fits

    def begin_anew(self) -> None:
        """Begin a fresh life with the events that came while the last one ended."""
        super().begin_anew()
        self._touched, self._cleared = True, False
