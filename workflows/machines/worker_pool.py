"""The machine of worker pools: each instance works off a queue, one event at a time, in order."""

from collections import deque
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from durable_jobs.protocol import Detail, JobType, Report, RunResult
from durable_jobs.spans import Span
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.values import JSON

from .bursts import (
    begin_again,
    check_burst,
    go_on_behind,
    leave_rest,
    newest_of,
    put_back_lost,
    queue_events,
    runs_of,
    set_aside,
    take_rest,
)
from .machine import Machine
from .messages import BadInput, Message
from .queue import FULL, Item, Items, Queue, SetAside, traces_of
from .run import Run, Succeeded
from .steps import Step, Wait

Handler = Literal["execute", "on_dead_letter", "on_empty"]


class Doing(BaseModel):
    """One call of a handler, or a burst of them, as it travels with continue-as-new."""

    handler: Handler
    items: Items = Field(default_factory=deque[Item])
    """The run's own event first, then those that its activity may handle too."""

    report: Report | None = None
    """Of `on_dead_letter`: how its event failed."""

    cleared: bool = False
    """Whether a caller dropped the events that its activity has not begun."""


class Spec(BaseModel):
    """What only the options of worker pools have."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, hide_input_in_errors=True)

    concurrency: int
    idle_timeout: Span | None = None


class WorkerPoolMachine(Machine):
    """One instance of a pool: its key is its index."""

    job_type: ClassVar[JobType] = "workerPool"
    spec_type: ClassVar[type[BaseModel]] = Spec

    # -- what it carries

    def restore(self, extra: Detail) -> None:
        """See base class."""
        self._queue = Queue.model_validate(extra.get("queue", {}))
        self._dead = SetAside.model_validate(extra.get("dead", {}))
        doing = extra.get("doing")
        self._doing: Doing | None = Doing.model_validate(doing) if doing else None
        self._draining = bool(extra.get("draining"))
        self._empty_due = bool(extra.get("empty_due"))
        """Whether `on_empty` has not been called since the last event."""

        self._triggered = bool(extra.get("triggered"))
        self._handled = int(extra.get("handled", 0))
        idle = extra.get("idle_since")
        self._idle_since: datetime | None = datetime.fromisoformat(idle) if idle else None

    def extra(self) -> Detail:
        """See base class."""
        return {
            "queue": self._queue.model_dump(mode="json"),
            "dead": self._dead.model_dump(mode="json"),
            "doing": self._doing.model_dump(mode="json") if self._doing else None,
            "draining": self._draining,
            "empty_due": self._empty_due,
            "triggered": self._triggered,
            "handled": self._handled,
            "idle_since": self._idle_since.isoformat() if self._idle_since else None,
        }

    # -- messages

    def take(self, message: Message) -> JSON:
        """See base class."""
        match message.verb:
            case "enqueue" | "enqueue_batch":
                return queue_events(self, self._queue, message)
            case "trigger":
                self._triggered = not self.hurry()
            case "drain":
                self._draining = True
            case "clear":
                return {"discardedEvents": self._clear()}
            case "redrive":
                count = self._dead.redrive(message.text, self._queue, message.at)
                return {"redrivenEvents": count}
            case _:
                raise BadInput(f"worker pools know no {message.verb!r}")
        return {"status": self.status_word()}

    def _clear(self) -> int:
        """Drop what waits. Returns how many, with those that a burst may get to all the same."""
        count = self.discard_waiting()
        self.ending.discarded += count
        doing = self._doing
        if doing is None or not doing.items:
            return count
        # Which of them have begun is known once the activity ends; they are counted then.
        doing.cleared = True
        return count + len(doing.items) - 1

    def discard_waiting(self) -> int:
        """See base class."""
        count = self._queue.clear()
        if self._doing is not None and not self.running:
            count += len(take_rest(self._doing.items))
        return count

    # -- what to do next

    def decide(self, now: datetime) -> Step:
        """See base class."""
        if self._doing is not None:
            # `on_dead_letter`, after a run that failed for good.
            return self.begin(self._doing.handler, now)
        if self._queue and (self._triggered or not self.life.paused):
            return self._work(now)
        self._triggered = False
        if self.life.paused:
            return Wait()
        if self._empty_due and "on_empty" in self.rules.handlers:
            self._empty_due = False
            self._doing = Doing(handler="on_empty")
            return self.begin("on_empty", now)
        return self._rest(now)

    def begin_life(self) -> None:
        """See base class."""
        self.tell_start()

    def _work(self, now: datetime) -> Step:
        items = self._queue.take(alone=self._triggered)
        self._triggered, self._empty_due, self._idle_since = False, True, None
        begun, items[0].begun = items[0].begun, None
        self._doing = Doing(handler="execute", items=items)
        if begun is None:
            return self.begin("execute", now)
        return self.begin_run(begin_again(self, "execute", begun, now), now)

    def _rest(self, now: datetime) -> Step:
        """Wait with an empty queue, or end where nothing is to come. Failed events are kept."""
        leaves = self._draining or self._is_beyond
        if leaves and not self._dead.entries:
            return self.complete("drained", now)
        timeout = self.rules.spec.get("idle_timeout")
        if timeout is None or self._dead.entries:
            self._idle_since = None
            return Wait()
        self._idle_since = self._idle_since or now
        ends_at = self._idle_since + timedelta(seconds=timeout)
        if ends_at <= now:
            return self.complete(f"idle for {timedelta(seconds=timeout)}", now)
        return Wait(ends_at, f"idle {self.ref.key}")

    @property
    def _is_beyond(self) -> bool:
        """Whether the pool has become smaller, and this instance is none of its any more."""
        return self.confirmed and int(self.ref.key) >= self.rules.spec["concurrency"]

    def before_end(self) -> None:
        """See base class."""
        super().before_end()
        self.ending.discarded += self._dead.count
        self._dead = SetAside()

    # -- calls

    def detail(self) -> Detail:
        """See base class."""
        doing = self._doing
        if doing is None or not doing.items:
            return {"index": self.ref.key}
        first, *more = [_shown(item) for item in doing.items]
        found = {"index": self.ref.key, **first, "more": more, **traces_of(doing.items)}
        if doing.report is None:
            return found
        failure = {
            "handler": "execute",
            "message": doing.report.text,
            "type": doing.report.type,
            "attempts": doing.report.attempt,
            "event": first["event"],
        }
        return {**found, "failure": failure}

    def summary(self) -> str:
        """See base class."""
        item = self._doing.items[0] if self._doing and self._doing.items else None
        return item.id if item is not None and item.id is not None else self.ref.key

    def burst_lost(self, run: Run) -> None:
        """See base class."""
        doing = self._doing
        # What was cleared is dropped with the failed attempt.
        if doing is not None and not doing.cleared:
            put_back_lost(self._queue, doing.items, run)

    def missed(self, run: Run, report: Report, now: datetime) -> None:
        """See base class."""
        doing = self._doing
        if doing is not None and doing.cleared:
            doing.cleared = False
            self.ending.discarded += len(take_rest(doing.items))
        super().missed(run, report, now)

    def check_result(self, run: Run, result: RunResult) -> None:
        """See base class."""
        check_burst(result, len(self._doing.items) if self._doing else 0)

    def succeeded(self, run: Run, done: Succeeded, now: datetime) -> None:
        """See base class."""
        doing, self._doing = self._doing, None
        if doing is None:
            return
        if doing.handler == "on_dead_letter" and doing.report is not None:
            self.life.last_error = doing.report.message
            self.end_if_asked(done.result, now)
            self._on_exhausted(doing, doing.report, now)
            return
        dropped = self.ending.asked or doing.cleared
        results = runs_of(self, run, done.result)
        for item, result in zip(doing.items, results, strict=False):
            if result.ran:
                self._handled += 1
            else:
                self.reject(result.detail["rejected"], now, item.id)
        newest = newest_of(results)
        if newest is not None:
            self.end_if_asked(newest, now)
        if doing.items:
            self._go_on_behind(doing, run, done, now, dropped=dropped)

    def _go_on_behind(
        self, doing: Doing, run: Run, done: Succeeded, now: datetime, *, dropped: bool
    ) -> None:
        """Go on with what an activity did not get to, unless a caller has dropped it."""
        failed = go_on_behind(self, self._queue, doing.items, run, done.result, dropped=dropped)
        if failed is not None:
            self._doing = Doing(handler="execute", items=deque([failed.item]))
            self.missed_after(failed.run, failed.report, now)

    # -- failures

    def exhausted(self, run: Run, report: Report, now: datetime) -> None:
        """See base class."""
        doing, self._doing = self._doing, None
        if doing is None:
            return
        leave_rest(self, self._queue, take_rest(doing.items), dropped=self.ending.asked)
        if doing.report is not None:
            self._on_exhausted(doing, doing.report, now)
        elif doing.items and "on_dead_letter" in self.rules.handlers and not self.ending.asked:
            self._doing = Doing(handler="on_dead_letter", items=doing.items, report=report)
        else:
            self._on_exhausted(doing, report, now)

    def _on_exhausted(self, doing: Doing, report: Report, now: datetime) -> None:
        """Do as the rule says with the failed event; there is none where `on_empty` failed."""
        rule, count = self.rules.on_exhausted, len(doing.items)
        ended_by_run = self.ending.at is not None
        if ended_by_run or (self.ending.asked and rule != "terminate"):
            self.ending.discarded += count
        elif rule == "terminate":
            self.ending.discarded += count + self.discard_waiting()
            self.fail(report, now)
        elif rule == "pause":
            self._queue.put_back(doing.items)
            # `resume` makes the failed run anew.
            self._empty_due = True
            self.pause("exhausted", now)
        elif count:
            set_aside(self, self._dead, doing.items[0], report.event_id, report, now)

    def given_up(self, now: datetime) -> None:
        """See base class."""
        doing, self._doing = self._doing, None
        if doing is None:
            return
        if self.ending.asked:
            self.ending.discarded += len(doing.items)
        elif doing.report is not None:
            self._on_exhausted(doing, doing.report, now)

    # -- the end

    @property
    def more_waits(self) -> bool:
        """See base class."""
        return bool(self._queue)

    def begin_anew(self, now: datetime) -> None:
        """See base class. It begins with the events that came while the last life ended."""
        super().begin_anew(now)
        queue = self._queue.behind()
        self.restore({})
        self._queue = queue

    # -- answers

    @property
    def full(self) -> bool:
        """See base class."""
        return len(self._queue) >= FULL

    def waiting_word(self) -> str:
        """See base class."""
        return "idle"

    def waiting_events(self) -> int:
        """See base class."""
        return self._events_left + (0 if self.over else self._dead.count)

    @property
    def has_set_aside(self) -> bool:
        """See base class."""
        return bool(self._dead.entries)

    @property
    def _events_left(self) -> int:
        return len(self._queue) + (len(self._doing.items) if self._doing else 0)

    def status(self) -> Detail:
        """See base class."""
        oldest = self._oldest()
        return {
            **super().status(),
            "eventCount": self._events_left,
            "handledEvents": self._handled,
            "failedEvents": self._dead.entries,
            "draining": self._draining,
            "oldestEventAt": iso_ms(oldest) if oldest else None,
            "discardedEvents": self.ending.discarded + self._dead.crowded_out,
        }

    def _oldest(self) -> datetime | None:
        """When the oldest event came that waits or is under way."""
        taken = [item.at for item in self._doing.items] if self._doing else []
        return min((at for at in (self._queue.oldest(), *taken) if at), default=None)

    def story(self) -> str:
        """See base class."""
        waits = len(self._queue)
        return f"{super().story()}, {waits} events wait" if waits else super().story()


def _shown(item: Item) -> Detail:
    """An event as the handler's activity gets it."""
    return {
        "event": item.text.event().data,
        "sequence": item.number,
        "enqueued_at": item.at.isoformat() if item.at else None,
        "priority": item.priority,
    }
