"""The workflow of debounce jobs: gathers events, flushes them, window after window."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from durable_jobs.protocol import (
    FOLD,
    Detail,
    EventIn,
    Folded,
    JobType,
    Options,
    Rejected,
    RunResult,
)
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.wire import JSON

from . import runs
from .base import JobWorkflow
from .gathered import Gathered
from .inputs import BadInput, asks_for_each, raw_start, read_events, read_one_event
from .library import call
from .seen import Seen
from .window import FLUSH_REASONS, WIRE_REASONS, Rules


@workflow.defn(name="DebounceJob", sandboxed=False)
class DebounceWorkflow(JobWorkflow):
    """One debounce instance."""

    job_type: ClassVar[JobType] = "debounce"
    bare: ClassVar[frozenset[str]] = JobWorkflow.bare | {"flush", "clear"}
    _windows: Rules = Rules()

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        extra = self.carried.extra if self.carried else {}
        self._waiting = Gathered.model_validate(extra.get("waiting", {}))
        self._in_flight = Gathered.model_validate(extra.get("in_flight", {}))
        self._flight: Detail = extra.get("flight", {})
        """Of the flush under way: its `reason`, when the window `opened_at`, its `duration`."""

        self._touched = bool(extra)
        """Whether anyone asked anything yet; an instance started bare waits for that."""

        self._cleared: int | None = extra.get("cleared")
        self._seen = Seen.model_validate(extra.get("seen", {}))

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until a window was flushed and nothing waits."""
        return await self.main()

    # -- receiving

    def handle_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal."""
        match name:
            case "add":
                self._add(read_one_event(args))
            case "add_batch":
                for event in self.events_of(name, args):
                    self._add(event)
            case "flush":
                self._touched = True
                self._waiting.flush_asked = self._waiting.window is not None
            case "clear":
                self._clear()
            case _:
                super().handle_signal(name, args)

    def on_bad_signal(self, name: str, error: BadInput) -> None:
        """A malformed add opens a window like any other, so that the instance ends by itself."""
        super().on_bad_signal(name, error)
        if name in ("add", "add_batch"):
            self._open()

    def check_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse what has the wrong shape."""
        match name:
            case "add":
                read_one_event(args)
            case "add_batch":
                read_events(args)
            case _:
                super().check_update(name, args)

    async def handle_update(self, name: str, args: Sequence[RawValue]) -> JSON:
        """Answer an update."""
        match name:
            case "add":
                return await self._add_judged([read_one_event(args)])
            case "add_batch":
                return await self._add_judged(read_events(args), each=asks_for_each(args))
            case "clear":
                return {"discardedEvents": self._clear()}
            case _:
                return await super().handle_update(name, args)

    async def _add_judged(self, events: list[EventIn], *, each: bool = False) -> JSON:
        """Take all of an update's events or none; with `each`, all that fit, and say which."""
        try:
            bad = await self.judge(events, each=each)
        finally:
            created, self._touched = not self._touched, True
        reasons = {rejected.index: rejected.reason for rejected in bad}
        answers = [self._add_one(event, reasons.get(n)) for n, event in enumerate(events)]
        opening = next((answer for answer in answers if "error" not in answer), None)
        if opening is not None:
            opening["created"] = created
        await workflow.wait_condition(lambda: self.options is not None or self.terminating)
        at = self._waiting.flush_at(self._windows) if self.options else None
        return {
            "created": created,
            "eventCount": self._waiting.count,
            "willFlushAt": iso_ms(at) if at else None,
            "duplicate": all(answer.get("duplicate") for answer in answers),
            "events": answers,
        }

    def _add_one(self, event: EventIn, wrong: str | None) -> Detail:
        if wrong is not None:
            return {"error": wrong}
        duplicate = not self._add(event)
        return {"created": False, "duplicate": duplicate, "eventCount": self._waiting.count}

    def _add(self, event: EventIn) -> bool:
        if self._seen_before(event.id) or not self._waiting.add(event, self.now):
            return False
        if event.id is not None and (self.options is None or self._windows.memory):
            self._seen.note(event.id, self.now)
        self._open()
        return True

    def _seen_before(self, event_id: str | None) -> bool:
        memory = self._windows.memory
        return (event_id is not None and memory is not None) and self._seen.knows(
            event_id, self.now - memory
        )

    def _open(self) -> None:
        self._touched = True
        self._waiting.open(self.now)

    def _announce(self) -> None:
        """Emit `debounce.started`, never while a run is under way, whose outcome comes first."""
        window = self._waiting.window
        if window is None or self._waiting.announced:
            return
        self._waiting.announced = True
        at = window.first_flush_at(self._windows)
        self.emit(
            "debounce.started",
            window.opened_at,
            settled=window.opened_at == workflow.info().workflow_start_time,
            flushAt=iso_ms(at) if at else None,
        )

    def _clear(self) -> int:
        self._touched = True
        self.life.paused = None
        count = self._waiting.count
        if self.run_now is None:
            self.request_terminate("cleared")
        else:
            # What is being flushed goes on; the life ends after it.
            self._cleared = (self._cleared or 0) + self.discard_waiting()
        return count

    def discard_waiting(self) -> int:
        """Drop what waits; what is being flushed is counted when its run gives up."""
        count = self._waiting.count
        self._waiting = Gathered()
        return count

    def resume(self, note: str | None = None) -> None:
        """Go on; a window that was due meanwhile flushes at once."""
        super().resume(note)
        self._touched = True

    # -- the windows

    def adopt(self, options: Options | None) -> None:
        """Take over options; a new flush rule holds from the next wait on."""
        super().adopt(options)
        if options is not None:
            self._windows = Rules.of(options.spec)
            if self._windows.memory is None:
                self._seen = Seen()

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
            and not self._remembers()
            and workflow.all_handlers_finished()
        )

    def _remembers(self) -> bool:
        until = self._seen_until()
        return until is not None and self._cleared is None and self.now < until

    def _seen_until(self) -> datetime | None:
        memory = self._windows.memory
        return self._seen.until(memory) if memory else None

    def _finish(self) -> None:
        if self.ended is not None:
            return
        if self._cleared is not None and not self.terminating:
            self.ending.asked, self.ending.reason = True, "cleared"
            self.ending.discarded += self._cleared
        self.ending.status = "terminated" if self.terminating else "completed"
        if self.terminating:
            self.emit_terminated()

    async def _gather(self) -> str | None:
        """Wait for the window to be due; None where there is nothing to flush."""
        while not (self._over() or self._carry_now()):
            self._announce()
            # Before anything leaves: what a command carries must stay small.
            if self._waiting.too_much:
                await self._fold_ahead()
                continue
            reason = self._due()
            if reason is not None:
                return reason
            await self._wait_for_change()
        return None

    def _carry_now(self) -> bool:
        ready = self._waiting.fits and workflow.all_handlers_finished()
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
                or self._waiting.too_much
            ),
            self._flush_at() if self._waiting.window else self._seen_until(),
            f"flush {self.ref.key}" if self._waiting.window else "forget the ids of events",
        )

    def _flush_at(self) -> datetime | None:
        if self.life.paused or self.options is None:
            return None
        return self._waiting.flush_at(self._windows)

    async def _fold_ahead(self) -> None:
        waiting = self._waiting
        request = waiting.fold_request(self.ref)
        count = len(request.events)
        try:
            folded = await call(FOLD, request, Folded, f"fold {count} events ahead")
        except FailureError as error:
            self.life.last_error = str(error.cause or error)
            waiting.fold_failed = True
            return
        if waiting is not self._waiting:
            return
        for item in folded.rejected:
            self.reject(item.reason, request.events[item.index].id)
        waiting.apply_fold(count, folded)

    # -- a flush

    async def _flush(self, reason: str) -> None:
        batch, self._waiting = self._waiting.split()
        self._in_flight = batch
        opened_at = batch.window.opened_at if batch.window else self.now
        self._flight = {
            "reason": reason,
            "opened_at": opened_at.isoformat(),
            "duration": round((self.now - opened_at).total_seconds() * 1000),
        }
        await self._fly(self._made_of_batch(self.new_run("execute", self._detail())))

    async def _fly(self, run: runs.Run) -> None:
        batch, reason = self._in_flight, self._flight["reason"]
        outcome = await self.execute(run, f"{batch.count} events, {reason}")
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

    def _detail(self) -> Detail:
        events = self._in_flight.events
        return {
            "events": [{"data": event.data, "id": event.id} for event in events],
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
        self.emit_outcome(
            "debounce.flushed",
            eventCount=result.detail["count"],
            reason=WIRE_REASONS[reason],
            flushReason=FLUSH_REASONS[reason],
            durationMs=duration,
        )
        if self.life.paused == "exhausted":
            self.life.resume(self.now)
        self.end_by_run(result)

    def _exhausted(self, batch: Gathered, failed: runs.Failed) -> None:
        match self.rules.on_exhausted:
            case "terminate":
                self.ending.discarded += batch.count
                self.fail(failed)
            case "pause":
                self._waiting = batch.before(self._waiting, keep_window=True)
                self.life.pause("exhausted", self.now)
            case "continue":
                self._waiting = batch.before(self._waiting, keep_window=False)
                self._open()

    # -- continue-as-new and answers

    def carry_extra(self) -> Detail:
        """What waits, and what was cleared."""
        return {
            **self._carried_events(),
            "cleared": self._cleared,
            "in_flight": self._in_flight.model_dump(mode="json"),
            "flight": self._flight,
        }

    def _carried_events(self) -> Detail:
        seen = self._seen.model_dump(mode="json")
        return {"waiting": self._waiting.model_dump(mode="json"), "seen": seen}

    def fresh_extra(self) -> Detail | None:
        """Events that came while the life ended."""
        cleared_late = self.ended == "completed" and self._cleared is not None
        if self._waiting.window is None and not cleared_late:
            return None
        return self._carried_events()

    def fresh_fits(self) -> bool:
        """Whether they can be carried into a run of their own."""
        return self._waiting.fits

    def begin_anew(self) -> None:
        """Begin a fresh life with the events that came while the last one ended."""
        super().begin_anew()
        self._touched, self._cleared = True, None

    def waiting_word(self) -> str:
        """`debouncing` while a window is open."""
        return "debouncing" if self._waiting.window else "idle"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        at = self._flush_at()
        shown = iso_ms(at) if at else None
        again = self.run_shown.retry_at if self.run_shown is not None else None
        return {
            **super().status(),
            "eventCount": self._waiting.count + self._in_flight.count,
            "willFlushAt": shown,
            "nextRunAt": iso_ms(again) if again else shown,
        }

    def state_answer(self) -> Detail:
        """The state and events from which a worker folds the answer to the query `state`."""
        gathered = self._waiting if self._waiting.window else self._in_flight
        return gathered.answer() if gathered.window else super().state_answer()

    def story(self) -> str:
        """What the instance does, in a few words."""
        at = self._flush_at()
        if self.run_shown is not None or at is None:
            return super().story()
        return f"{self._waiting.count} events wait, flushes at {at:%Y-%m-%d %H:%M:%S} UTC"
