"""The workflow of debounce jobs: gathers events, flushes them, window after window."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

from durable_jobs.protocol import (
    FOLD,
    Detail,
    EventIn,
    Folded,
    FoldRequest,
    JobType,
    RunResult,
)
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.wire import JSON, size

from . import runs
from .base import JobWorkflow
from .inputs import BadInput, read_events, read_one_event
from .library import call
from .window import FLUSH_REASONS, WIRE_REASONS, Rules, Window

FOLD_EVENTS = 2_000
FOLD_BYTES = 256 * 1024


class Gathered(BaseModel):
    """What waits for a flush, as it travels with continue-as-new."""

    window: Window | None = None
    events: list[EventIn] = Field(default_factory=list)
    base: JSON = None
    """The state that events were folded into ahead."""

    has_base: bool = False
    base_version: int = 1
    folded: int = 0
    """Events in `base`."""

    ids: list[str] = Field(default_factory=list)
    """Event ids seen in this window."""

    @property
    def count(self) -> int:
        """Events that wait, judged or not."""
        return len(self.events) + self.folded


@workflow.defn(name="DebounceJob", sandboxed=False)
class DebounceWorkflow(JobWorkflow):
    """One debounce instance."""

    job_type: ClassVar[JobType] = "debounce"

    @workflow.init
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        extra = self.carried.extra if self.carried else {}
        self._waiting = Gathered.model_validate(extra.get("waiting", {}))
        self._ids = set(self._waiting.ids)
        self._bytes = sum(size(event.data) for event in self._waiting.events)
        self._in_flight = Gathered()
        self._touched = bool(extra)
        self._flush_asked = bool(extra.get("flush_asked", False))
        self._cleared: int | None = extra.get("cleared")
        self._announced = self._waiting.window is not None and bool(extra.get("announced"))

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        """Live until a window was flushed and nothing waits."""
        return await self.main()

    # -- receiving ------------------------------------------------------------------------

    def handle_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal."""
        match name:
            case "add":
                self._add(read_one_event(args))
            case "add_batch":
                for event in read_events(args):
                    self._add(event)
            case "flush":
                self._flush_asked = self._waiting.window is not None
                self._touched = True
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
            case "flush" | "clear":
                pass
            case _:
                super().check_update(name, args)

    async def handle_update(self, name: str, args: Sequence[RawValue]) -> JSON:
        """Answer an update."""
        match name:
            case "add":
                event = read_one_event(args)
                await self._judge_first(event)
                return self._receipt(self._add(event))
            case "add_batch":
                return await self._add_batch(read_events(args))
            case "clear":
                return {"discardedEvents": self._clear()}
            case _:
                return await super().handle_update(name, args)

    async def _judge_first(self, event: EventIn) -> None:
        try:
            await self.judge(event)
        finally:
            self._touched = True

    async def _add_batch(self, events: list[EventIn]) -> JSON:
        for event in events:
            await self._judge_first(event)
        created = [self._add(event) for event in events]
        return self._receipt(created[0] if len(events) == 1 else any(created))

    def _receipt(self, outcome: bool | None) -> JSON:
        """`outcome`: True created the instance, False joined it, None was a duplicate."""
        window = self._waiting.window
        at = window.flush_at(self._rules) if window and self.options else None
        return {
            "created": outcome is True,
            "eventCount": self._waiting.count,
            "willFlushAt": iso_ms(at) if at else None,
            "duplicate": outcome is None,
        }

    def _add(self, event: EventIn) -> bool | None:
        if event.id is not None:
            if event.id in self._ids:
                return None
            self._ids.add(event.id)
            self._waiting.ids.append(event.id)
        created = not self._touched
        window = self._open()
        length = size(event.data)
        window.last_at = self.now
        window.received += 1
        window.bytes += length
        self._bytes += length
        self._waiting.events.append(event)
        return created

    def _open(self) -> Window:
        self._touched = True
        if self._waiting.window is None:
            now = self.now
            self._waiting.window = Window(opened_at=now, last_at=now)
            self._announced = False
            self._announce()
        return self._waiting.window

    def _announce(self) -> None:
        """Emit `debounce.started`, which needs the options: at once, or when they are known."""
        window = self._waiting.window
        if window is None or self._announced or self.options is None or self.terminating:
            return
        self._announced = True
        at = window.first_flush_at(self._rules)
        self.emit("debounce.started", at=window.opened_at, flushAt=iso_ms(at) if at else None)

    def on_described(self) -> None:
        """Announce a window that opened before the options were known."""
        self._announce()

    def _clear(self) -> int:
        count = self._waiting.count
        self._drop()
        self._cleared = (self._cleared or 0) + count
        self.life.paused = None
        self._touched = True
        return count

    def _drop(self) -> None:
        self._waiting = Gathered()
        self._ids = set()
        self._bytes = 0
        self._flush_asked = False

    def discard_waiting(self) -> int:
        """Drop what waits; what is being flushed is counted when its run gives up."""
        count = self._waiting.count
        self._drop()
        return count

    def resume(self) -> None:
        """Go on; a window that was due meanwhile flushes at once."""
        super().resume()
        self._touched = True

    # -- the windows ------------------------------------------------------------------------

    @property
    def _rules(self) -> Rules:
        return Rules.of(self.rules.spec)

    async def live(self) -> bool:
        """Flush window after window until nothing waits."""
        while True:
            reason = await self._gather()
            if reason is not None and not self.terminating:
                await self._flush(reason)
            elif not self._over():
                return True
            if self._over():
                self._finish()
                return False

    def _over(self) -> bool:
        return self.ended is not None or self.terminating or self._nothing_left()

    def _finish(self) -> None:
        if self.ended is not None:
            return
        if self._cleared is not None and not self.terminating:
            self.terminate_reason = "cleared"
            self.terminating = True
            self.discarded = self._cleared
        self.ended = "terminated" if self.terminating else "completed"
        if self.terminating:
            self.emit_terminated()

    async def _gather(self) -> str | None:
        """Wait for the window to be due; None where there is nothing to flush."""
        while not self._stop_gathering():
            reason = self._due()
            if reason is not None:
                return reason
            if self._too_much():
                await self._fold_ahead()
            else:
                await self._wait_for_change()
        return None

    async def _wait_for_change(self) -> None:
        before = self._shape()
        await self.wait(
            lambda: (
                self._stop_gathering()
                or self._due(by_time=False) is not None
                or self._shape() != before
                or self._too_much()
            ),
            self._flush_at(),
            f"flush {self.ref.key}",
        )

    def _shape(self) -> tuple[bool, str | None]:
        return self._waiting.window is None, self.life.paused

    def _flush_at(self) -> datetime | None:
        window = self._waiting.window
        if window is None or self.life.paused or self.options is None:
            return None
        return window.flush_at(self._rules)

    def _stop_gathering(self) -> bool:
        return self._over() or self._carry_now()

    def _nothing_left(self) -> bool:
        return (
            self._touched
            and self._waiting.window is None
            and self.life.paused is None
            and workflow.all_handlers_finished()
        )

    def _carry_now(self) -> bool:
        return self.should_continue_as_new() and workflow.all_handlers_finished()

    def _due(self, *, by_time: bool = True) -> str | None:
        window = self._waiting.window
        if window is None:
            return None
        if self._flush_asked:
            return "manual"
        if self.life.paused:
            return None
        return window.full(self._rules) or (
            window.expired(self._rules, self.now) if by_time else None
        )

    def _too_much(self) -> bool:
        return len(self._waiting.events) > FOLD_EVENTS or self._bytes > FOLD_BYTES

    async def _fold_ahead(self) -> None:
        """Reduce waiting events into a state, so that what the instance carries stays small."""
        waiting = self._waiting
        chunk = waiting.events[:FOLD_EVENTS]
        request = FoldRequest(
            **self.ref.model_dump(),
            events=chunk,
            state=waiting.base,
            has_state=waiting.has_base,
            state_version=waiting.base_version,
        )
        try:
            folded = await call(FOLD, request, Folded, f"fold {len(chunk)} events ahead")
        except ActivityError as error:
            # The run that follows fails the same way and says so, with the events kept.
            self.life.last_error = str(error.cause or error)
            self._flush_asked = True
            return
        if waiting is self._waiting:
            self._apply_fold(waiting, chunk, folded)

    def _apply_fold(self, waiting: Gathered, chunk: list[EventIn], folded: Folded) -> None:
        for item in folded.rejected:
            self.reject(item.reason, chunk[item.index].id)
        waiting.base, waiting.has_base = folded.state, folded.has_state
        waiting.base_version = folded.state_version
        waiting.folded += len(chunk) - len(folded.rejected)
        waiting.events = waiting.events[len(chunk) :]
        self._bytes = sum(size(event.data) for event in waiting.events)

    # -- a flush ------------------------------------------------------------------------------

    async def _flush(self, reason: str) -> None:
        batch = self._waiting
        self._drop()
        self._in_flight = batch
        opened_at = batch.window.opened_at if batch.window else self.now
        took = self.now - opened_at
        outcome = await self.execute(
            self._run_of(batch, reason, opened_at), f"{batch.count} events, {reason}"
        )
        self._in_flight = Gathered()
        match outcome:
            case runs.Succeeded(result):
                self._flushed(batch, reason, round(took.total_seconds() * 1000), result)
            case runs.Failed():
                self._exhausted(batch, outcome)
            case runs.Interrupted():
                self.discarded += batch.count

    def _run_of(self, batch: Gathered, reason: str, opened_at: datetime) -> runs.Run:
        run = self.new_run(
            "execute",
            {
                "events": [event.model_dump() for event in batch.events],
                "folded": batch.folded,
                "flush_reason": reason,
                "opened_at": opened_at.isoformat(),
            },
        )
        run.state, run.has_state = batch.base, batch.has_base
        run.state_version = batch.base_version
        return run

    def _flushed(self, batch: Gathered, reason: str, duration: int, result: RunResult) -> None:
        for item in result.detail["rejected"]:
            self.reject(item["reason"], batch.events[item["index"]].id)
        if result.ran:
            self.life.state, self.life.has_state = result.state, True
            self.life.state_version = result.state_version
        self.emit(
            "debounce.flushed",
            eventCount=result.detail["count"],
            reason=WIRE_REASONS[reason],
            flushReason=FLUSH_REASONS[reason],
            durationMs=duration,
        )
        if self.life.paused == "exhausted":
            self.life.paused = None
        if result.terminate:
            self.request_terminate(result.terminate_reason)

    def _exhausted(self, batch: Gathered, failed: runs.Failed) -> None:
        if self.terminating:
            self.discarded += batch.count
            return
        match self.rules.on_exhausted:
            case "terminate":
                self.discarded += batch.count + self.discard_waiting()
                self.fail(failed)
            case "pause":
                self._put_back(batch, keep_window=True)
                self.life.paused = "exhausted"
            case "continue":
                self._put_back(batch, keep_window=False)

    def _put_back(self, batch: Gathered, *, keep_window: bool) -> None:
        """Events of a failed flush stand before those that came meanwhile."""
        newer = self._waiting
        self._waiting = batch.model_copy(
            update={
                "events": [*batch.events, *newer.events],
                "ids": [*batch.ids, *newer.ids],
                "window": newer.window or (batch.window if keep_window else None),
            }
        )
        self._ids = set(self._waiting.ids)
        self._bytes = sum(size(event.data) for event in self._waiting.events)
        # Of the failed events only their time counts: a full window would run again at once.
        self._open()

    # -- continue-as-new ------------------------------------------------------------------------

    def carry_extra(self) -> Detail:
        """What waits, and what was asked for."""
        return {
            "waiting": self._waiting.model_dump(mode="json"),
            "flush_asked": self._flush_asked,
            "cleared": self._cleared,
            "announced": self._announced,
        }

    def fresh_extra(self) -> Detail | None:
        """Events that came while the life ended."""
        if self._waiting.window is None:
            return None
        return {"waiting": self._waiting.model_dump(mode="json")}

    # -- answers ----------------------------------------------------------------------------------

    def waiting_word(self) -> str:
        """`debouncing` while a window is open."""
        return "debouncing" if self._waiting.window else "idle"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        at = self._flush_at()
        shown = iso_ms(at) if at else None
        count = self._waiting.count + self._in_flight.count
        return {**super().status(), "eventCount": count, "willFlushAt": shown, "nextRunAt": shown}

    def state_answer(self) -> Detail:
        """The state and events from which a worker folds the answer to the query `state`."""
        gathered = self._waiting if self._waiting.window else self._in_flight
        if gathered.window is None:
            return super().state_answer()
        return {
            "state": gathered.base,
            "has_state": gathered.has_base,
            "state_version": gathered.base_version,
            "events": [event.model_dump() for event in gathered.events],
        }

    def story(self) -> str:
        """What the instance does, in a few words."""
        at = self._flush_at()
        if self.run_now is not None or at is None:
            return super().story()
        return f"{self._waiting.count} events, flushes at {at:%Y-%m-%d %H:%M:%S} UTC"
