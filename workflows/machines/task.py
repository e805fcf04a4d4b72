"""The machine of task jobs: an entity that handles events one at a time, with one alarm."""

from collections import deque
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from durable_jobs.protocol import Begun, Detail, JobType, Report, RunResult
from durable_jobs.spans import AnyTime, Span
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
from .messages import BadInput, Message, Refused
from .queue import FULL, Item, Items, Queue, SetAside, beyond, traces_of
from .run import Run, Succeeded
from .steps import Step, Wait

KEPT_REPLIES = 50
Handler = Literal["on_event", "execute", "on_idle", "on_error"]
_TRIGGERS = {"on_event": "event", "execute": "execute", "on_idle": "idle", "on_error": "error"}


class Doing(BaseModel):
    """One call of a handler, or a burst of them, as it travels with continue-as-new."""

    handler: Handler
    items: Items = Field(default_factory=deque[Item])
    """Of `on_event`: the run's own event first, then those that its activity may handle too."""

    scheduled_at: datetime | None = None
    """When the alarm was due before it."""

    idle_was_due: bool = False
    failed: "Doing | None" = None
    """Of `on_error`: what failed."""

    report: Report | None = None
    """Of `on_error`: how it failed."""

    key: str = ""
    """Of one that failed for good: its run's idempotency key."""

    @property
    def item(self) -> Item | None:
        """The event of the run at hand."""
        return self.items[0] if self.items else None

    @property
    def count(self) -> int:
        """Events that wait for its end."""
        return len(self.items) + (self.failed.count if self.failed else 0)

    def has(self, event_id: str) -> bool:
        """Whether an event with the id is under way."""
        behind = self.failed is not None and self.failed.has(event_id)
        return behind or any(item.id == event_id for item in self.items)

    def detail(self) -> Detail:
        """What its handler is called with, beside what the entity is."""
        if self.failed is not None and self.report is not None:
            item = self.failed.item
            failure: Detail = {
                "handler": self.failed.handler,
                "message": self.report.text,
                "type": self.report.type,
                "attempts": self.report.attempt,
                "event": item.text.event().data if item else None,
            }
            return {"failure": failure, **traces_of(self.failed.items)}
        if not self.items:
            return {}
        first, *more = [item.text.event().data for item in self.items]
        found = {"event": first, "more": more} if more else {"event": first}
        return {**found, **traces_of(self.items)}


class Spec(BaseModel):
    """What only the options of tasks have."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, hide_input_in_errors=True)

    idle_timeout: Span | None = None


class Alarm(BaseModel):
    """What a run said of its alarm."""

    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    scheduled_at: AnyTime | None = None


class Entity(BaseModel):
    """What a task is, beside its state. Travels with continue-as-new."""

    created_at: datetime | None = None
    event_count: int = 0
    execute_count: int = 0
    scheduled_at: datetime | None = None
    """When the alarm is due; None where none is set."""

    triggered: bool = False
    idle_since: datetime | None = None
    """When it last had something to do; None where it has."""

    idle_due: bool = False
    """Whether `on_idle` has not been called since the last run."""

    rang: bool = False
    """Whether the last run was an alarm's: events and an alarm that rings always take turns."""

    def alarm_due(self, now: datetime) -> bool:
        """Whether `execute` is due, by its alarm or a trigger."""
        return self.triggered or (self.scheduled_at is not None and self.scheduled_at <= now)


class TaskMachine(Machine):
    """One task instance."""

    job_type: ClassVar[JobType] = "task"
    spec_type: ClassVar[type[BaseModel]] = Spec

    # -- what it carries

    def restore(self, extra: Detail) -> None:
        """See base class."""
        self._queue = Queue.model_validate(extra.get("queue", {}))
        self._entity = Entity.model_validate(extra.get("entity", {}))
        self._set_aside = SetAside.model_validate(extra.get("set_aside", {}))
        doing = extra.get("doing")
        self._doing: Doing | None = Doing.model_validate(doing) if doing else None
        self._asked: dict[str, None] = extra.get("asked", {})
        """Ids of events whose reply somebody waits for, or will ask for again."""

        self._replies: dict[str, Detail] = extra.get("replies", {})
        """The last replies, or errors, by the id of the event that was asked about."""

        self._refused: dict[str, str] = {}
        """Why an event that was asked about did not fit, until those that asked were told."""

    def extra(self) -> Detail:
        """See base class."""
        return {
            "queue": self._queue.model_dump(mode="json"),
            "entity": self._entity.model_dump(mode="json"),
            "set_aside": self._set_aside.model_dump(mode="json"),
            "doing": self._doing.model_dump(mode="json") if self._doing else None,
            "asked": self._asked,
            "replies": self._replies,
        }

    # -- messages

    def take(self, message: Message) -> JSON:
        """See base class."""
        match message.verb:
            case "send" | "send_batch":
                return queue_events(self, self._queue, message)
            case "ask":
                return self._ask(message)
            case "trigger":
                if not self.hurry():
                    self._entity.triggered = True
            case "redrive":
                count = self._set_aside.redrive(message.text, self._queue, message.at)
                return {"redrivenEvents": count}
            case _:
                raise BadInput(f"task jobs know no {message.verb!r}")
        return {"status": self.status_word()}

    def _ask(self, message: Message) -> JSON:
        [event] = message.events
        if isinstance(event, BadInput) or event.id is None:
            raise BadInput("ask takes one event")
        if event.id not in self._replies:
            self._refused.pop(event.id, None)
            if not self._queue.put(event, message.at) and not self.knows(event.id):
                why = "was handled before and its reply is not kept"
                raise Refused("JobFailed", f"an event with the id {event.id!r} {why}")
            self._asked[event.id] = None
        return None

    def knows(self, event_id: str) -> bool:
        """Whether an event with the id waits, or is under way."""
        under_way = self._doing is not None and self._doing.has(event_id)
        return under_way or self._queue.waits_for(event_id)

    def has_answer(self, event_id: str) -> bool:
        """Whether there is a reply to an event that was asked about, or it does not fit."""
        return event_id in self._replies or event_id in self._refused

    def reply(self, event_id: str) -> Detail | None:
        """The reply to an event that was asked about, or its error; None while there is none.

        Raises:
            Refused: the event does not fit.
        """
        if event_id in self._refused:
            raise Refused("InvalidEvent", self._refused[event_id])
        return self._replies.get(event_id)

    @property
    def holds_asks(self) -> bool:
        """Whether it answers nothing before it is resumed."""
        return self.life.paused is not None and not self.running

    def discard_waiting(self) -> int:
        """See base class."""
        return self._queue.clear()

    # -- what to do next

    def decide(self, now: datetime) -> Step:
        """See base class."""
        if self._doing is not None:
            # `on_error`, after a run that failed for good.
            return self.begin(self._doing.handler, now)
        handler = self._next_handler(now)
        if handler is not None:
            return self._call(handler, now)
        ends_at = self._ends_at(now)
        if ends_at is not None and ends_at <= now:
            return self.complete(f"idle for {self._idle_timeout}", now)
        alarm = None if self.life.paused else self._entity.scheduled_at
        what = f"idle {self.ref.key}" if ends_at else f"alarm {self.ref.key}"
        return Wait(ends_at or alarm, what)

    def begin_life(self) -> None:
        """See base class."""
        self._entity.created_at = self.life.started_at
        first = self._queue.first.text.event().data if self._queue.first else None
        given = first if self.rules.include_state else None
        self.tell_start(input=given)

    def _next_handler(self, now: datetime) -> Handler | None:
        entity, waits = self._entity, bool(self._queue)
        if entity.triggered:
            return "execute"
        if self.life.paused:
            return None
        if entity.alarm_due(now) and not (entity.rang and waits):
            return "execute"
        if waits:
            return "on_event"
        if entity.idle_due and entity.scheduled_at is None and "on_idle" in self.rules.handlers:
            return "on_idle"
        return None

    def _ends_at(self, now: datetime) -> datetime | None:
        """When the instance ends by itself; None while it has, or may get, something to do."""
        timeout, entity = self._idle_timeout, self._entity
        if timeout is None or self.life.paused or entity.scheduled_at or self._set_aside.entries:
            entity.idle_since = None
            return None
        entity.idle_since = entity.idle_since or now
        return entity.idle_since + timeout

    @property
    def _idle_timeout(self) -> timedelta | None:
        seconds = self.rules.spec.get("idle_timeout")
        return None if seconds is None else timedelta(seconds=seconds)

    def before_end(self) -> None:
        """See base class."""
        super().before_end()
        self.ending.discarded += self._set_aside.count
        self._set_aside = SetAside()

    # -- calls

    def _call(self, handler: Handler, now: datetime) -> Step:
        entity = self._entity
        doing = Doing(
            handler=handler, scheduled_at=entity.scheduled_at, idle_was_due=entity.idle_due
        )
        entity.rang = handler == "execute"
        entity.idle_since = None
        entity.idle_due = handler != "on_idle"
        begun: Begun | None = None
        if handler == "on_event":
            doing.items = self._queue.take()
            entity.event_count += 1
            begun, doing.items[0].begun = doing.items[0].begun, None
        elif handler == "execute":
            entity.execute_count += 1
            if entity.alarm_due(now) and not entity.triggered:
                entity.scheduled_at = None
            entity.triggered = False
        self._doing = doing
        if begun is None:
            return self.begin(handler, now)
        return self.begin_run(begin_again(self, handler, begun, now), now)

    def detail(self) -> Detail:
        """See base class."""
        entity, doing = self._entity, self._doing
        items = doing is not None and bool(doing.items)
        return {
            "event_count": entity.event_count,
            "execute_count": entity.execute_count,
            "created_at": (entity.created_at or self.life.started_at).isoformat(),
            "scheduled_at": entity.scheduled_at.isoformat() if entity.scheduled_at else None,
            "first": entity.event_count == 1 and items,
            **(doing.detail() if doing else {}),
        }

    def summary(self) -> str:
        """See base class."""
        item = self._doing.item if self._doing else None
        return item.id if item is not None and item.id is not None else self.ref.key

    def burst_lost(self, run: Run) -> None:
        """See base class."""
        if self._doing is not None:
            put_back_lost(self._queue, self._doing.items, run)

    def check_result(self, run: Run, result: RunResult) -> None:
        """See base class."""
        events = len(self._doing.items) if self._doing else 0
        check_burst(result, events)
        for each in [result, *result.after]:
            Alarm.model_validate(each.detail)
            if each.ran and events and "reply" not in each.detail:
                raise ValueError("it has no reply")

    def succeeded(self, run: Run, done: Succeeded, now: datetime) -> None:
        """See base class."""
        doing, self._doing = self._doing, None
        if doing is None:
            return
        dropped = self.ending.asked
        results = runs_of(self, run, done.result)
        self._entity.event_count += len(results) - 1
        for index, result in enumerate(results):
            item = doing.items[index] if doing.items else None
            self._handled(doing, item, result, now)
        newest = newest_of(results)
        if newest is not None:
            self.keep_state(newest.state, newest.state_version)
        else:
            self._entity.idle_due = doing.idle_was_due
        if doing.failed is not None and doing.report is not None:
            self.life.last_error = doing.report.message
            self._on_exhausted(doing.failed, doing.report, now)
        elif doing.items:
            self._go_on_behind(doing, run, done.result, now, dropped=dropped)

    def _handled(self, doing: Doing, item: Item | None, result: RunResult, now: datetime) -> None:
        if not result.ran:
            self._rejected(item, result.detail["rejected"], now)
            return
        at = result.executed.at if result.executed else now
        if "scheduled_at" in result.detail:
            alarm = Alarm.model_validate(result.detail).scheduled_at
            self._set_alarm(alarm, doing.handler, at, result)
        if item is not None:
            self._answer(item, {"reply": result.detail["reply"]})
        self.end_if_asked(result, now)

    def _rejected(self, item: Item | None, reason: str, now: datetime) -> None:
        """An event that does not fit is no run; nothing is wrong with the job."""
        self._entity.event_count -= 1
        if item is None:
            return
        if item.id is not None and item.id in self._asked:
            # It leaves no trace: who asked hears of it, and may put it right.
            del self._asked[item.id]
            self._queue.forget(item.id)
            self._refused[item.id] = reason
        else:
            self.reject(reason, now, item.id)

    def _set_alarm(
        self, at: datetime | None, handler: Handler, now: datetime, run: RunResult
    ) -> None:
        self._entity.scheduled_at = at
        if at is not None and not run.terminate:
            due = iso_ms(at)
            self.emit("task.scheduled", now, scheduledAt=due, trigger=_TRIGGERS[handler])

    def _answer(self, item: Item, reply: Detail) -> None:
        """Keep the reply to an event that somebody asked about."""
        if item.id is None or item.id not in self._asked:
            return
        del self._asked[item.id]
        self._replies[item.id] = reply
        while beyond(list(self._replies.values()), KEPT_REPLIES):
            del self._replies[next(iter(self._replies))]

    def _go_on_behind(
        self, doing: Doing, run: Run, result: RunResult, now: datetime, *, dropped: bool
    ) -> None:
        """Go on with what an activity did not get to, unless a caller has dropped it."""
        failed = go_on_behind(self, self._queue, doing.items, run, result, dropped=dropped)
        if failed is None:
            return
        entity = self._entity
        entity.event_count += 1
        entity.idle_due = True
        self._doing = Doing(
            handler="on_event",
            items=deque([failed.item]),
            scheduled_at=entity.scheduled_at,
            idle_was_due=doing.idle_was_due,
        )
        self.missed_after(failed.run, failed.report, now)

    # -- failures

    def exhausted(self, run: Run, report: Report, now: datetime) -> None:
        """See base class."""
        doing, self._doing = self._doing, None
        if doing is None:
            return
        doing.key = run.key
        leave_rest(self, self._queue, take_rest(doing.items), dropped=self.ending.asked)
        if doing.failed is not None and doing.report is not None:
            # `on_error` itself failed: nothing more is called.
            self._on_exhausted(doing.failed, doing.report, now)
        elif "on_error" in self.rules.handlers and not self.ending.asked:
            self._doing = Doing(handler="on_error", failed=doing, report=report)
        else:
            self._on_exhausted(doing, report, now)

    def _on_exhausted(self, doing: Doing, report: Report, now: datetime) -> None:
        item, rule = doing.item, self.rules.on_exhausted
        ended_by_run = self.ending.at is not None
        if ended_by_run or (self.ending.asked and rule != "terminate"):
            self._drop(item, report)
        elif rule == "terminate":
            self._drop(item, report)
            self.ending.discarded += self.discard_waiting()
            self.fail(report, now)
        elif rule == "pause":
            self.pause("exhausted", now)
            self._put_back(doing, now)
        elif item is not None:
            set_aside(self, self._set_aside, item, doing.key, report, now)
            self._answer(item, {"error": report.message})

    def _drop(self, item: Item | None, report: Report) -> None:
        if item is not None:
            self.ending.discarded += 1
            self._answer(item, {"error": report.message})

    def _put_back(self, doing: Doing, now: datetime) -> None:
        """Let `resume` make the failed run anew."""
        entity = self._entity
        if doing.item is not None:
            entity.event_count -= 1
            self._queue.put_back([doing.item])
        elif doing.handler == "on_idle":
            entity.idle_due = True
        elif entity.scheduled_at is None:
            entity.execute_count -= 1
            entity.scheduled_at = doing.scheduled_at or now

    def given_up(self, now: datetime) -> None:
        """See base class. A handler that has gone is left out; an event goes with its life."""
        doing, self._doing = self._doing, None
        if doing is None:
            return
        if doing.failed is not None and doing.report is not None:
            if self.ending.asked:
                self._drop(doing.failed.item, doing.report)
            else:
                self._on_exhausted(doing.failed, doing.report, now)
        elif self.ending.asked:
            self.ending.discarded += len(doing.items)

    # -- the end

    @property
    def more_waits(self) -> bool:
        """See base class."""
        return bool(self._queue)

    def begin_anew(self, now: datetime) -> None:
        """See base class. It begins with the events that came while the last life ended."""
        super().begin_anew(now)
        queue, asked = self._queue.behind(), self._asked
        self.restore({})
        self._queue, self._asked = queue, {name: None for name in asked if queue.waits_for(name)}

    # -- answers

    @property
    def full(self) -> bool:
        """See base class."""
        return len(self._queue) >= FULL

    def waiting_word(self) -> str:
        """See base class."""
        return "scheduled" if self._entity.scheduled_at else "idle"

    def waiting_events(self) -> int:
        """See base class."""
        return self._events_left + (0 if self.over else self._set_aside.count)

    @property
    def has_set_aside(self) -> bool:
        """See base class."""
        return bool(self._set_aside.entries)

    @property
    def _events_left(self) -> int:
        return len(self._queue) + (self._doing.count if self._doing else 0)

    def status(self) -> Detail:
        """See base class."""
        found, at = super().status(), self._entity.scheduled_at
        alarm = at.isoformat() if at and not self.over else None
        return {
            **found,
            "eventCount": self._events_left,
            "nextRunAt": found["nextRunAt"] or alarm,
            "handledEvents": self._entity.event_count,
            "executeCount": self._entity.execute_count,
            "failedEvents": self._set_aside.entries,
            "discardedEvents": self.ending.discarded or self._set_aside.crowded_out,
        }

    def story(self) -> str:
        """See base class."""
        at = self._entity.scheduled_at
        if self.run is not None or at is None or self.closing or self.life.paused:
            return super().story()
        return f"next alarm at {at:%Y-%m-%d %H:%M:%S} UTC, {len(self._queue)} events wait"
