"""What a debounce instance receives and tells: events, flush and clear, status and state."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue

from durable_jobs.protocol import Detail, JobType, Options
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.wire import JSON

from .base import JobWorkflow
from .gathered import Gathered
from .inputs import BadInput, asks_for_each, read_events, read_one_event
from .seen import Seen
from .texts import EventText
from .window import Rules, Window


class GatheringWorkflow(JobWorkflow):
    """A debounce instance without its life."""

    job_type: ClassVar[JobType] = "debounce"
    bare: ClassVar[frozenset[str]] = JobWorkflow.bare | {"flush", "clear"}
    bringing: ClassVar[frozenset[str]] = frozenset({"add", "add_batch"})
    _windows: Rules = Rules()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        extra = self.carried.extra if self.carried else {}
        self._waiting = Gathered.of(extra.get("waiting", {}))
        self._in_flight = Gathered.of(extra.get("in_flight", {}))
        self._flight: Detail = extra.get("flight", {})
        """Of the flush under way: its `reason`, when the window `opened_at`, its `duration`."""

        self._touched = bool(extra)
        """Whether anyone asked anything yet; an instance started bare waits for that."""

        self._first_window: tuple[Window, bool] | None = None
        """The first one of this execution, and whether its first event may lead."""

        self._cleared: bool = extra.get("cleared") is not None
        """Whether the life ends after the flush under way."""

        if self._cleared:
            self.ending.condemned, self._callers_reason = extra["cleared"], "cleared"
        self._seen = Seen.model_validate(extra.get("seen", {}))
        quiet = extra.get("quiet_at")
        self._quiet_at: datetime | None = datetime.fromisoformat(quiet) if quiet else None
        """When the next event may lead; None at once."""

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

    async def _add_judged(self, events: list[EventText], *, each: bool = False) -> JSON:
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
        return {
            "created": created,
            "eventCount": self._waiting.count,
            "willFlushAt": self._promise(answers),
            "duplicate": all(answer.get("duplicate") for answer in answers),
            "events": answers,
        }

    def _promise(self, answers: list[Detail]) -> str | None:
        """When what was added flushes; an event that leads hears of its own time."""
        at = self._waiting.flush_at(self._windows) if self.options else None
        shown = iso_ms(at) if at else None
        for answer in answers:
            if answer.pop("leads", False) and self._windows.leading:
                answer["willFlushAt"] = iso_ms(self.now)
                shown = answer["willFlushAt"] if len(answers) == 1 else shown
        return shown

    def _add_one(self, event: EventText, wrong: str | None) -> Detail:
        if wrong is not None:
            return {"error": wrong}
        opens = self._waiting.window is None
        duplicate = not self._add(event)
        return {
            "created": False,
            "duplicate": duplicate,
            "eventCount": self._waiting.count,
            "leads": opens and self._waiting.leads,
        }

    def _add(self, event: EventText) -> bool:
        if event.id is not None and self._seen_before(event.id):
            return False
        opens = self._waiting.window is None
        if not self._waiting.add(event, self.now, quiet=opens and self._is_quiet()):
            return False
        if event.id is not None and (self.options is None or self._windows.memory):
            self._seen.note(event.id, self.now)
        if opens:
            self._open()
        return True

    def _is_quiet(self) -> bool:
        """Whether an event that came now would lead, where the job wants that."""
        busy = self.run_shown is not None or self.life.paused is not None
        return not busy and (self._quiet_at is None or self.now >= self._quiet_at)

    def _leads(self) -> bool:
        waiting = self._waiting
        return self._windows.leading and waiting.leads and bool(waiting.events)

    def _seen_before(self, event_id: str) -> bool:
        memory = self._windows.memory
        return memory is not None and self._seen.knows(event_id, self.now - memory)

    def _open(self) -> None:
        self._touched = True
        window = self._waiting.open(self.now)
        if self._first_window is None and self.carried is None:
            self._first_window = window, self._waiting.leads

    def _clear(self) -> int:
        self._touched = True
        self.life.paused = None
        count = self._waiting.count
        if self.run_shown is None:
            self.request_terminate("cleared")
        else:
            # What is being flushed goes on; the life ends after it.
            self._cleared, self._callers_reason = True, "cleared"
            self.ending.condemned += self.discard_waiting()
        return count

    def discard_waiting(self) -> int:
        """Drop what waits; what is being flushed is counted when its run gives up."""
        count = self._waiting.count
        self._waiting, self._seen = Gathered(), Seen()
        self._quiet_at = None
        return count

    def emit_terminated(self) -> None:
        """Say that the life ended. Its ids end with it, but for those of events behind it."""
        super().emit_terminated()
        self._waiting.forget_others()
        self._seen = self._seen.only(self._waiting.ids)

    def pause(self, note: str | None = None) -> None:
        """Start nothing new until resumed; events gather, the first one too."""
        super().pause(note)
        self._waiting.leads = False

    def resume(self, note: str | None = None) -> None:
        """Go on; a window that was due meanwhile flushes at once."""
        super().resume(note)
        self._touched = True

    def adopt(self, options: Options | None) -> None:
        """Take over options; a new flush rule holds from the next wait on."""
        super().adopt(options)
        if options is not None:
            self._windows = Rules.of(options.spec)
            if self._windows.memory is None:
                self._seen = Seen()

    # -- answers

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
            "eventBytes": self._waiting.bytes + self._in_flight.bytes,
            "willFlushAt": shown,
            "flushReason": self._reason(),
            "nextRunAt": iso_ms(again) if again else shown,
        }

    def state_answer(self) -> Detail:
        """The state and events from which a worker folds the answer to the query `state`."""
        gathered = self._waiting if self._waiting.window else self._in_flight
        return gathered.answer() if gathered.window else super().state_answer()

    def story(self) -> str:
        """What the instance does, in a few words."""
        if self.ended is not None or self.terminating:
            return super().story()
        if self.run_shown is not None:
            why = f"{super().story()}\n\nFlushes {self._in_flight.told} ({self._flight['reason']})"
            waits = f"; {self._waiting.told} for the next window" if self._waiting.window else ""
            return f"{why}{waits}"
        if self._waiting.window is None:
            return super().story()
        return f"{self.status_word()}, {self._waiting.told}, {self._plan()}"

    def _plan(self) -> str:
        """When and why it will flush, in words."""
        if self.life.paused:
            note = f" ({self.life.pause_note})" if self.life.pause_note else ""
            return f"until resumed or flushed{note}"
        limits = self._windows.limits
        at, reason = self._flush_at(), self._waiting.next_reason(self._windows)
        if at is None:
            return f"flushes at {limits}" if limits else "for a worker that knows the job"
        sooner = f", sooner at {limits}" if limits else ""
        return f"flushes at {at:%Y-%m-%d %H:%M:%S} UTC ({reason}){sooner}"

    def _reason(self) -> str | None:
        """Why the run under way flushes, or the window will."""
        if self.run_shown is not None:
            return self._flight["reason"]
        paused = self.life.paused is not None
        return self._waiting.due(self._windows, paused=paused) or (
            None if paused else self._waiting.next_reason(self._windows)
        )

    def _flush_at(self) -> datetime | None:
        if self.life.paused or self.options is None:
            return None
        return self._waiting.flush_at(self._windows)
