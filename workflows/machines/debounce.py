"""The machine of debounce jobs: gathers events, flushes them, window after window."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel

from durable_jobs.names import FOLD
from durable_jobs.protocol import Detail, JobType, Report, RunRequest, RunResult
from durable_jobs.questions import Flushed, Folded, Rejected
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.values import JSON

from .gathered import Gathered
from .life import PausedBy
from .machine import Machine
from .messages import BadInput, Message
from .run import Run, Succeeded
from .seen import Seen
from .steps import Call, Finish, Step, Wait
from .texts import EventText, values_of
from .window import FLUSH_REASONS, WIRE_REASONS, Rules, Window


class DebounceMachine(Machine):
    """One debounce instance."""

    job_type: ClassVar[JobType] = "debounce"
    spec_type: ClassVar[type[BaseModel]] = Rules

    # -- what it carries

    def restore(self, extra: Detail) -> None:
        """See base class."""
        self._windows = Rules()
        self._waiting = Gathered.of(extra.get("waiting", {}))
        self._in_flight = Gathered.of(extra.get("in_flight", {}))
        self._flight: Detail = extra.get("flight", {})
        """Of the flush under way: its `reason`, when the window `opened_at`, its `duration`."""

        self._cleared = bool(extra.get("cleared"))
        """Whether the life ends after the flush under way."""

        self._touched = bool(extra.get("touched"))
        """Whether anyone asked anything yet; an instance started bare waits for that."""

        self._seen = Seen.model_validate(extra.get("seen", {}))
        quiet = extra.get("quiet_at")
        self._quiet_at: datetime | None = datetime.fromisoformat(quiet) if quiet else None
        """When the next event may lead; None at once."""

        self._folding: Gathered | None = None
        """Whose oldest events a worker folds at the moment."""

    def extra(self) -> Detail:
        """See base class."""
        return {
            "touched": self._touched,
            "waiting": self._waiting.carry(),
            "in_flight": self._in_flight.carry(),
            "flight": self._flight,
            "cleared": self._cleared,
            "seen": self._seen.model_dump(mode="json"),
            "quiet_at": self._quiet_at.isoformat() if self._quiet_at else None,
        }

    @property
    def fits(self) -> bool:
        """See base class."""
        return self._waiting.fits

    @property
    def at_rest(self) -> bool:
        """See base class."""
        return super().at_rest and self._folding is None

    def options_changed(self) -> None:
        """A new flush rule holds from the next wait on."""
        self._windows = Rules.of(self.rules.spec)
        if self._windows.memory is None:
            self._seen = Seen()

    # -- messages

    def take(self, message: Message) -> JSON:
        """See base class."""
        match message.verb:
            case "add" | "add_batch":
                return self._add_all(message)
            case "flush":
                self._touched = True
                if not self.hurry():
                    self._waiting.flush_asked = self._waiting.window is not None
            case "clear":
                return {"discardedEvents": self._clear(message.at)}
            case _:
                raise BadInput(f"debounce jobs know no {message.verb!r}")
        return {"status": self.status_word()}

    def _add_all(self, message: Message) -> JSON:
        created, self._touched = not self._touched, True
        answers = [self._add_one(message, n, each) for n, each in enumerate(message.events)]
        taken = [answer for answer in answers if "error" not in answer]
        if taken:
            taken[0]["created"] = created
        return {
            "created": created,
            "eventCount": self._waiting.count,
            "willFlushAt": self._promise(answers, message.at),
            "duplicate": bool(answers) and all(answer.get("duplicate") for answer in answers),
            "events": answers,
        }

    def _add_one(self, message: Message, index: int, event: EventText | BadInput) -> Detail:
        if isinstance(event, BadInput):
            self.reject(f"{message.verb}: {event}", message.at)
            # It opens a window like any other, so that the instance ends by itself.
            self._waiting.open(message.at)
            return {"error": str(event)}
        if index in message.wrong:
            return {"error": message.wrong[index]}
        opens = self._waiting.window is None
        return {
            "created": False,
            "duplicate": not self._add(event, message.at),
            "eventCount": self._waiting.count,
            "leads": opens and self._waiting.leads,
        }

    def _promise(self, answers: list[Detail], now: datetime) -> str | None:
        """When what was added flushes; an event that leads hears of its own time."""
        at = self._waiting.flush_at(self._windows) if self.options else None
        shown = iso_ms(at) if at else None
        for answer in answers:
            if answer.pop("leads", False) and self._windows.leading:
                answer["willFlushAt"] = iso_ms(now)
                shown = answer["willFlushAt"] if len(answers) == 1 else shown
        return shown

    def _add(self, event: EventText, now: datetime) -> bool:
        if event.id is not None and self._seen_before(event.id, now):
            return False
        opens = self._waiting.window is None
        if not self._waiting.add(event, now, quiet=opens and self._is_quiet(now)):
            return False
        if event.id is not None and (self.options is None or self._windows.memory):
            self._seen.note(event.id, now)
        return True

    def _is_quiet(self, now: datetime) -> bool:
        """Whether an event that came now would lead, where the job wants that."""
        busy = self.run is not None or self.life.paused is not None
        return not busy and (self._quiet_at is None or now >= self._quiet_at)

    def _seen_before(self, event_id: str, now: datetime) -> bool:
        memory = self._windows.memory
        return memory is not None and self._seen.knows(event_id, now - memory)

    def _clear(self, now: datetime) -> int:
        self._touched = True
        self.life.resume(now)
        count = self._waiting.count
        if self.run is None:
            self.terminate("cleared")
        else:
            # What is being flushed goes on; the life ends after it.
            self._cleared = True
            self.ending.discarded += self.discard_waiting()
        return count

    def discard_waiting(self) -> int:
        """See base class. What is being flushed is counted when its run gives up."""
        count = self._waiting.count
        self._waiting, self._seen, self._folding = Gathered(), Seen(), None
        self._quiet_at = None
        return count

    def pause(self, by: PausedBy, at: datetime, note: str | None = None) -> None:
        """See base class. Events gather, the first one too."""
        super().pause(by, at, note)
        self._waiting.leads = False

    def resume(self, at: datetime, note: str | None = None, by: PausedBy = "user") -> None:
        """See base class. A window that was due meanwhile flushes at once."""
        super().resume(at, note, by)
        self._touched = True

    # -- windows

    def decide(self, now: datetime) -> Step:
        """See base class."""
        if self._cleared:
            self.end("terminated", now, "cleared")
            return Finish()
        if self._nothing_left(now):
            self.ending.status = "completed"
            return Finish()
        if self._folding is not None:
            return Wait()
        if self._leads:
            return self._flush("leading", now)
        self._announce()
        # Before anything leaves: what a command carries must stay small.
        if (fold := self.beside(now)) is not None:
            return fold
        reason = self._due(now)
        if reason is not None:
            return self._flush(reason, now)
        if self._waiting.window is None:
            # A paused one does not end by itself, whatever the time.
            until = None if self.life.paused else self._idle_until()
            return Wait(until, "forget what came before")
        why = self._waiting.next_reason(self._windows)
        return Wait(self._flush_at(), f"flush {self.ref.key} ({why})")

    def _nothing_left(self, now: datetime) -> bool:
        if not self._touched or self._waiting.window is not None or self.life.paused:
            return False
        until = self._idle_until()
        return until is None or now >= until

    def _idle_until(self) -> datetime | None:
        """Until when an instance with nothing to do lives: it knows ids, or is not quiet yet."""
        memory = self._windows.memory
        seen = self._seen.until(memory) if memory else None
        return max(filter(None, (seen, self._quiet_at)), default=None)

    def before_end(self) -> None:
        """See base class. Its ids end with a life, but for those of events behind it."""
        self._waiting.forget_others()
        self._seen = self._seen.only(self._waiting.ids)

    @property
    def _leads(self) -> bool:
        waiting = self._waiting
        return self._windows.leading and waiting.leads and bool(waiting.events)

    @property
    def begun(self) -> bool:
        """See base class. A run's outcome comes before the window that gathers meanwhile."""
        waiting = self._waiting
        busy = self.run is not None or self._cleared or self._leads
        return busy or waiting.window is None or waiting.announced

    def terminate(self, reason: str | None) -> None:
        """See base class. The window that it drops is told of first."""
        if self.options is not None:
            self._announce()
        super().terminate(reason)

    def _announce(self) -> None:
        """Emit `debounce.started`, and a pause that came with the window's first event."""
        window = self._waiting.window
        if window is None or self.begun:
            return
        self._waiting.announced = True
        at = Window(opened_at=window.opened_at, last_at=window.opened_at).flush_at(self._windows)
        self.emit("debounce.started", window.opened_at, flushAt=iso_ms(at) if at else None)
        self.tell_pauses()

    def _due(self, now: datetime) -> str | None:
        paused = self.life.paused is not None
        window = self._waiting.window
        reason = self._waiting.due(self._windows, paused=paused)
        if reason is None and window is not None and not paused:
            return window.expired(self._windows, now)
        return reason

    def _flush_at(self) -> datetime | None:
        if self.life.paused or self.options is None:
            return None
        return self._waiting.flush_at(self._windows)

    # -- folding ahead

    def beside(self, now: datetime) -> Call | None:
        """See base class. Folds the oldest events where too many wait to be carried."""
        if self._folding is not None or not self._should_fold():
            return None
        self._folding = self._waiting.to_fold
        request = self._folding.fold_request(self.ref)
        return Call(FOLD, request, Folded, f"fold {len(request.events)} events ahead")

    def _should_fold(self) -> bool:
        """Not where a list is so long that it flushes, which a fold would make one state."""
        window, rules = self._waiting.window, self._windows
        if self._waiting.leads and (self.options is None or rules.leading):
            # Its first event runs alone, before anything is folded.
            return False
        if self.running or (self.run is not None and not self.carry_due):
            return False
        whole = rules.most_bytes is None or window is None or window.bytes < rules.most_bytes
        return self._waiting.too_much and whole

    def answered(self, name: str, answer: BaseModel, now: datetime) -> None:
        """See base class. What was dropped meanwhile is not folded any more."""
        super().answered(name, answer, now)
        folding = self._folding
        if not isinstance(answer, Folded) or folding is None:
            return
        self._folding = None
        count = folding.asked
        if any(not 0 <= item.index < count for item in answer.rejected):
            folding.fold_failed = True
            return
        for item in answer.rejected:
            self.reject(item.reason, now, folding.events[item.index].id)
        folding.apply_fold(count, answer)

    def call_failed(self, name: str, message: str) -> None:
        """See base class. The run that follows fails in the same way, and says so."""
        if name != FOLD:
            super().call_failed(name, message)
            return
        self.life.last_error = message
        if self._folding is not None:
            self._folding.fold_failed, self._folding = True, None

    # -- a flush

    def _flush(self, reason: str, now: datetime) -> Step:
        batch, self._waiting = self._waiting.take(reason, self._windows)
        self._in_flight = batch
        if reason == "leading" and batch.window is not None:
            self._quiet_at = batch.window.flush_at(self._windows)
        opened_at = batch.window.opened_at if batch.window else now
        self._flight = {
            "reason": reason,
            "opened_at": opened_at.isoformat(),
            "duration": round((now - opened_at) / timedelta(milliseconds=1)),
        }
        return self.begin("execute", now)

    def request(self) -> RunRequest:
        """See base class. A flush begins with what was folded ahead, not with a kept state."""
        batch = self._in_flight
        base: dict[str, Any] = {
            "state": batch.base,
            "has_state": batch.has_base,
            "state_version": batch.base_version,
        }
        return super().request().model_copy(update=base)

    def detail(self) -> Detail:
        """See base class."""
        traceparents = self._in_flight.folded_traceparents
        return {
            "events": values_of(self._in_flight.events),
            "folded": self._in_flight.folded,
            **({"traceparents": traceparents} if traceparents else {}),
            "flush_reason": self._flight.get("reason"),
            "opened_at": self._flight.get("opened_at"),
        }

    def summary(self) -> str:
        """See base class."""
        return f"{self._in_flight.told}, {self._flight.get('reason')}"

    def check_result(self, run: Run, result: RunResult) -> None:
        """See base class."""
        flushed = Flushed.model_validate(result.detail)
        if any(not 0 <= each.index < len(self._in_flight.events) for each in flushed.rejected):
            raise ValueError("it rejects an event that was not flushed")

    def succeeded(self, run: Run, done: Succeeded, now: datetime) -> None:
        """See base class."""
        batch, self._in_flight = self._in_flight, Gathered()
        result, reason = done.result, str(self._flight["reason"])
        at = result.executed.at if result.executed else now
        for rejected in map(Rejected.model_validate, result.detail["rejected"]):
            self.reject(rejected.reason, now, batch.events[rejected.index].id)
        if result.ran:
            self.keep_state(result.state, result.state_version)
        if reason != "leading":
            self.emit(
                "debounce.flushed",
                at,
                eventCount=result.detail["count"],
                reason=WIRE_REASONS[reason],
                flushReason=FLUSH_REASONS[reason],
                durationMs=self._flight["duration"],
            )
        elif not result.ran:
            # What was rejected led nothing.
            self._quiet_at = None
        if self.life.paused == "exhausted":
            self.resume(at, by="exhausted")
        self.end_if_asked(result, now)

    def exhausted(self, run: Run, report: Report, now: datetime) -> None:
        """See base class."""
        batch, self._in_flight = self._in_flight, Gathered()
        match self.rules.on_exhausted:
            case "terminate":
                self.ending.discarded += batch.count
                self.fail(report, now)
            case _ if self.ending.asked or self._cleared:
                # A caller ended the life meanwhile: there is no next flush of it.
                self.ending.discarded += batch.count
            case "pause":
                self._put_back(batch, now, keep_window=True)
                self.pause("exhausted", now)
            case "continue":
                self._put_back(batch, now, keep_window=False)
                self._waiting.open(now)

    def given_up(self, now: datetime) -> None:
        """See base class."""
        batch, self._in_flight = self._in_flight, Gathered()
        self.ending.discarded += batch.count

    def _put_back(self, batch: Gathered, now: datetime, *, keep_window: bool) -> None:
        why = "its id is that of an event whose run failed, which waits again"
        for event in batch.known_to(self._waiting):
            self.reject(why, now, event.id)
        # What is being folded waits with others now: its answer comes too late.
        self._folding = None
        self._waiting = batch.before(self._waiting, keep_window=keep_window)

    # -- the end

    @property
    def more_waits(self) -> bool:
        """See base class."""
        return self._waiting.window is not None

    def begin_anew(self, now: datetime) -> None:
        """See base class. It begins with the events that came while the last life ended."""
        super().begin_anew(now)
        self._touched, self._cleared, self._in_flight = True, False, Gathered()

    # -- answers

    def waiting_word(self) -> str:
        """See base class."""
        return "debouncing" if self._waiting.window or self._in_flight.window else "idle"

    def waiting_events(self) -> int:
        """See base class."""
        return self._waiting.count + self._in_flight.count

    def status(self) -> Detail:
        """See base class."""
        found = super().status()
        at = self._flush_at()
        shown = iso_ms(at) if at else None
        return {
            **found,
            "eventCount": self.waiting_events(),
            "eventBytes": self._waiting.bytes + self._in_flight.bytes,
            "willFlushAt": shown,
            "flushReason": self._reason(),
            "nextRunAt": found["nextRunAt"] or shown,
        }

    def _reason(self) -> str | None:
        """Why the run under way flushes, or the window will."""
        if self.run is not None:
            return self._flight["reason"]
        paused = self.life.paused is not None
        return self._waiting.due(self._windows, paused=paused) or (
            None if paused else self._waiting.next_reason(self._windows)
        )

    def state_answer(self) -> Detail:
        """See base class. The events of a window are folded into it."""
        gathered = self._waiting if self._waiting.window else self._in_flight
        return gathered.answer() if gathered.window else super().state_answer()

    def story(self) -> str:
        """See base class."""
        if self.closing:
            return super().story()
        if self.run is not None:
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
