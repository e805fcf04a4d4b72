"""The workflow of task jobs: an entity that handles events one at a time, with one alarm."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.protocol import ASK_AGAIN, ASK_AGAIN_MARK, Detail, EventIn, JobType, RunResult
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.wire import JSON

from . import runs
from .base import JobWorkflow
from .inputs import raw_start, read_events, read_one_event
from .queue import Queue

Next = Literal["on_event", "execute", "on_idle"]


@workflow.defn(name="TaskJob", sandboxed=False)
class TaskWorkflow(JobWorkflow):
    """One task instance."""

    job_type: ClassVar[JobType] = "task"
    bare: ClassVar[frozenset[str]] = JobWorkflow.bare | {"trigger"}

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        extra = self.carried.extra if self.carried else {}
        self._queue = Queue.model_validate(extra.get("queue", {}))
        self._begun = bool(extra.get("begun", False))
        self._current: EventIn | None = None
        self._rang = False
        self._carrying = False

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until terminated."""
        return await self.main()

    # -- receiving

    def handle_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal."""
        match name:
            case "send":
                self._queue.put(read_one_event(args))
            case "send_batch":
                for event in self.events_of(name, args):
                    self._queue.put(event)
            case "trigger":
                self._queue.triggered = True
            case _:
                super().handle_signal(name, args)

    def check_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse what has the wrong shape."""
        match name:
            case "send" | "ask":
                read_one_event(args)
            case "send_batch":
                read_events(args)
            case _:
                super().check_update(name, args)

    async def handle_update(self, name: str, args: Sequence[RawValue]) -> JSON:
        """Answer an update."""
        match name:
            case "send" | "send_batch":
                events = [read_one_event(args)] if name == "send" else read_events(args)
                await self.judge(events)
                taken = [self._queue.put(event) for event in events]
                return {"eventCount": len(self._queue.events), "duplicate": not all(taken)}
            case "ask":
                return await self._ask(read_one_event(args))
            case _:
                return await super().handle_update(name, args)

    async def _ask(self, event: EventIn) -> JSON:
        # The update's id is the event's: a caller that asks again joins its queued event.
        info = workflow.current_update_info()
        event_id = (info.id if info else str(workflow.uuid4())).split(ASK_AGAIN_MARK)[0]
        queue = self._queue
        if event_id not in queue.replies:
            if not self._has(event_id):
                await self._take(event.model_copy(update={"id": event_id}))
            queue.asked[event_id] = None
        await workflow.wait_condition(
            lambda: event_id in queue.replies or self._hands_back() or self.ended is not None
        )
        return self._answer(event_id)

    def _has(self, event_id: str) -> bool:
        current = self._current is not None and self._current.id == event_id
        return current or self._queue.waits_for(event_id)

    async def _take(self, event: EventIn) -> None:
        await self.judge([event])
        if not self._queue.put(event) and not self._has(event.id or ""):
            raise ApplicationError(
                f"an event with the id {event.id!r} was handled before and its reply is not kept",
                type="JobFailed",
                non_retryable=True,
            )

    def _answer(self, event_id: str) -> JSON:
        kept = self._queue.replies.get(event_id)
        if kept is None:
            # Behind a life that its run ended, a fresh one handles it.
            over = self.ended is not None and not self._queue.waits_for(event_id)
            why = "the instance ended before the event was handled" if over else "ask again"
            kind = "JobFailed" if over else ASK_AGAIN
            raise ApplicationError(why, type=kind, non_retryable=True)
        if "error" in kept:
            raise ApplicationError(kept["error"], type="JobFailed", non_retryable=True)
        return kept["reply"]

    def _hands_back(self) -> bool:
        """A waiting update would hold up `resume` and continue-as-new."""
        return self._carrying or (self.life.paused is not None and self.run_now is None)

    def discard_waiting(self) -> int:
        """Drop the queued events."""
        return self._queue.clear()

    # -- the life

    async def live(self) -> bool:
        """Handle events, alarms and idleness, one at a time."""
        if not self._begun:
            self._begin()
        while not self._over():
            step = self._step()
            if step is not None:
                await self._run(step)
            elif not self._wants_carry():
                await self._wait_for_step()
            if self._wants_carry():
                self._carrying = True
                return True
        if self.ended is None:
            self.ending.status = "terminated"
            self.emit_terminated()
        return False

    def _begin(self) -> None:
        self._begun = True
        self._queue.created_at = self.life.started_at
        first = self._queue.events[0].data if self._queue.events else None
        self.emit(
            "job.started",
            self.life.started_at,
            settled=True,
            input=first if self.rules.include_state else None,
        )

    def _over(self) -> bool:
        return self.terminating or self.ended is not None

    def _wants_carry(self) -> bool:
        # A backlog too large to carry is drained first.
        return self.should_continue_as_new() and not self._over() and self._queue.fits()

    def _step(self) -> Next | None:
        queue = self._queue
        if queue.triggered:
            return "execute"
        if self.life.paused:
            return None
        # An alarm that rings all the time and the events take turns.
        if queue.alarm_due(self.now) and not (self._rang and queue.events):
            return "execute"
        if queue.events:
            return "on_event"
        if queue.idle_due and queue.scheduled_at is None and "on_idle" in self.rules.handlers:
            return "on_idle"
        return None

    async def _wait_for_step(self) -> None:
        paused = self.life.paused
        await self.wait(
            lambda: (
                self._over()
                or self._step() is not None
                or self._wants_carry()
                or self.life.paused != paused
            ),
            None if paused else self._queue.scheduled_at,
            f"alarm {self.ref.key}",
        )

    async def _run(self, step: Next) -> None:
        queue = self._queue
        event = None
        scheduled_at, idle_was_due = queue.scheduled_at, queue.idle_due
        self._rang = step == "execute"
        if step == "on_event":
            event = self._current = queue.take()
            queue.event_count += 1
        elif step == "execute":
            queue.execute_count += 1
            if queue.alarm_due(self.now) and not queue.triggered:
                queue.scheduled_at = None
            queue.triggered = False
        queue.idle_due = step != "on_idle"
        outcome = await self._call(step, event)
        self._current = None
        match outcome:
            case runs.Succeeded(result):
                self._succeeded(step, event, result)
                if not result.ran:
                    queue.idle_due = idle_was_due
            case runs.Failed():
                await self._failed(step, event, scheduled_at, outcome)
            case runs.Interrupted():
                self.ending.discarded += event is not None

    async def _call(
        self, handler: str, event: EventIn | None, failure: Detail | None = None
    ) -> runs.Succeeded | runs.Failed | runs.Interrupted:
        queue = self._queue
        detail: Detail = {
            "event_count": queue.event_count,
            "execute_count": queue.execute_count,
            "created_at": (queue.created_at or self.life.started_at).isoformat(),
            "scheduled_at": queue.scheduled_at.isoformat() if queue.scheduled_at else None,
            "first": queue.event_count == 1 and event is not None,
        }
        if event is not None:
            detail["event"] = event.data
        if failure is not None:
            detail["failure"] = failure
        run = self.new_run(handler, detail)
        summary = event.id if event is not None and event.id is not None else self.ref.key
        return await self.execute(run, summary)

    def _succeeded(self, step: str, event: EventIn | None, result: RunResult) -> None:
        if not result.ran:
            self._rejected(event, result.detail["rejected"])
            return
        self.keep_state(result)
        if "scheduled_at" in result.detail:
            self._set_alarm(result.detail["scheduled_at"], step)
        if event is not None:
            self._queue.reply(event, {"reply": result.detail["reply"]})
        self.end_by_run(result)

    def _rejected(self, event: EventIn | None, reason: str) -> None:
        """An event that does not fit is no run; nothing is wrong with the job."""
        self._queue.event_count -= 1
        if event is not None:
            self.reject(reason, event.id)
            self._queue.reply(event, {"error": reason})

    def _set_alarm(self, at: str | None, step: str) -> None:
        self._queue.scheduled_at = datetime.fromisoformat(at) if at else None
        if at is not None:
            trigger = {"on_event": "event", "on_idle": "idle", "on_error": "error"}
            self.emit_outcome(
                "task.scheduled",
                scheduledAt=iso_ms(datetime.fromisoformat(at)),
                trigger=trigger.get(step, "execute"),
            )

    async def _failed(
        self,
        step: Next,
        event: EventIn | None,
        scheduled_at: datetime | None,
        failed: runs.Failed,
    ) -> None:
        if "on_error" in self.rules.handlers and not self.terminating:
            await self._on_error(step, event, failed)
        if self.ending.at is not None:
            self._dropped(event, failed)
        else:
            self._exhausted(step, event, scheduled_at, failed)

    async def _on_error(self, step: str, event: EventIn | None, failed: runs.Failed) -> None:
        failure: Detail = {
            "handler": step,
            "message": failed.report.message,
            "type": failed.report.type,
            "attempts": failed.report.attempt,
            "event": event.data if event else None,
        }
        outcome = await self._call("on_error", None, failure)
        if isinstance(outcome, runs.Succeeded):
            self._succeeded("on_error", None, outcome.result)
            self.life.last_error = failed.report.message

    def _exhausted(
        self,
        step: Next,
        event: EventIn | None,
        scheduled_at: datetime | None,
        failed: runs.Failed,
    ) -> None:
        report = failed.report
        match self.rules.on_exhausted:
            case "terminate":
                self._dropped(event, failed)
                self.fail(failed)
            case "pause":
                self.life.pause("exhausted", self.now)
                self._put_back(step, event, scheduled_at)
            case "continue":
                if event is not None:
                    self._queue.set_aside(event, report.message, report.attempt, self.now)
                    self._queue.reply(event, {"error": report.message})

    def _dropped(self, event: EventIn | None, failed: runs.Failed) -> None:
        if event is not None:
            self.ending.discarded += 1
            self._queue.reply(event, {"error": failed.report.message})

    def _put_back(self, step: Next, event: EventIn | None, scheduled_at: datetime | None) -> None:
        """Let `resume` make the failed run anew."""
        queue = self._queue
        if event is not None:
            queue.event_count -= 1
            queue.put_back(event)
        elif step == "on_idle":
            queue.idle_due = True
        elif queue.scheduled_at is None:
            queue.execute_count -= 1
            queue.scheduled_at = scheduled_at or self.now

    # -- continue-as-new and answers

    def carry_extra(self) -> Detail:
        """The queue, with the alarm and what else the entity is."""
        return {"queue": self._queue.model_dump(mode="json"), "begun": True}

    def fresh_extra(self) -> Detail | None:
        """Events that came while the life ended."""
        if not self._queue.events:
            return None
        return {"queue": self._queue.behind().model_dump(mode="json")}

    def fresh_fits(self) -> bool:
        """Whether they can be carried into a run of their own."""
        return self._queue.behind().fits()

    def begin_anew(self) -> None:
        """Begin a fresh life with the events that came while the last one ended."""
        super().begin_anew()
        self._queue = self._queue.behind()
        self._begun = self._rang = False

    def waiting_word(self) -> str:
        """`scheduled` while an alarm is set."""
        return "scheduled" if self._queue.scheduled_at else "idle"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        at = self._queue.scheduled_at
        run = self.run_now
        shown = run.retry_at if run is not None and run.retry_at is not None else at
        return {
            **super().status(),
            "eventCount": len(self._queue.events) + (self._current is not None),
            "nextRunAt": shown.isoformat() if shown and self.ended is None else None,
            "handledEvents": self._queue.event_count,
            "failedEvents": self._queue.failed,
        }

    def story(self) -> str:
        """What the instance does, in a few words."""
        at = self._queue.scheduled_at
        if self.run_now is not None or at is None or self.ended is not None:
            return super().story()
        return f"next alarm at {at:%Y-%m-%d %H:%M:%S} UTC, {len(self._queue.events)} events wait"
