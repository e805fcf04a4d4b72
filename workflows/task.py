"""The workflow of task jobs: an entity that handles events one at a time, with one alarm."""

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from durable_jobs.protocol import Detail, EventIn, Reached, Report, RunResult
from durable_jobs.tracking.endings import after_idling
from durable_jobs.tracking.ids import iso_ms

from . import runs
from .inputs import raw_start
from .receiving import ReceivingWorkflow
from .step import Handler, Step, behind, unmarked

_TRIGGERS = {"on_event": "event", "execute": "execute", "on_idle": "idle", "on_error": "error"}


@workflow.defn(name="TaskJob", sandboxed=False)
class TaskWorkflow(ReceivingWorkflow):
    """One task instance."""

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        extra = self.carried.extra if self.carried else {}
        self._begun = bool(extra.get("begun", False))
        self._cause: BaseException | None = None
        """Of the last run that failed for good, unless continue-as-new came since."""

        self._rang = False

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until terminated."""
        return await self.main()

    # -- the life

    async def live(self) -> bool:
        """Handle events, alarms and idleness, one at a time."""
        if not self._begun:
            self._begin()
        if self._doing is not None:
            await self._go_on(self._doing)
        self._carrying = await self._step_on()
        if not self._carrying and self.ended is None:
            self.ending.status = "terminated"
            self.emit_terminated()
        return self._carrying

    async def _step_on(self) -> bool:
        """Returns True to continue as new."""
        while not self._over() and self.run_kept is None and not self._wants_carry():
            handler = self._next()
            if handler is not None:
                await self._begin_step(handler)
            else:
                await self._wait_for_step()
        return not self._over()

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
        return self.should_continue_as_new() and not self._over() and self.waiting_fits()

    def _next(self) -> Handler | None:
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
        ends_at = self._ends_at()
        if ends_at is not None and ends_at <= self.now:
            self._complete()
            return
        await self.wait(
            lambda: (
                self._over()
                or self._next() is not None
                or self._wants_carry()
                or self.life.paused != paused
            ),
            ends_at or (None if paused else self._queue.scheduled_at),
            f"idle {self.ref.key}" if ends_at else f"alarm {self.ref.key}",
        )

    def _ends_at(self) -> datetime | None:
        """When the instance ends by itself; None while it has, or may get, something to do."""
        timeout, queue = self.rules.spec.get("idle_timeout"), self._queue
        if timeout is None or self.life.paused or queue.scheduled_at or queue.failed:
            queue.idle_since = None
            return None
        queue.idle_since = queue.idle_since or self.now
        return queue.idle_since + timedelta(seconds=timeout)

    def _complete(self) -> None:
        timeout = timedelta(seconds=self.rules.spec["idle_timeout"])
        self.ending.asked = self.ending.planned = True
        self.ending.reason, self.ending.status = after_idling(timeout), "completed"
        self.emit_terminated()

    def emit_terminated(self) -> None:
        """Say that the life ended, and what was dropped."""
        self.ending.discarded += self._queue.unfinished
        # A `redrive` that came with a run's end would let them open a fresh life.
        self.ending.counts_late = bool(self._queue.failed)
        super().emit_terminated()

    # -- a step

    async def _begin_step(self, handler: Handler) -> None:
        queue = self._queue
        step = Step(handler=handler, scheduled_at=queue.scheduled_at, idle_was_due=queue.idle_due)
        self._rang = handler == "execute"
        queue.idle_since = None
        queue.idle_due = handler != "on_idle"
        if handler == "on_event":
            step.events = queue.take()
            queue.event_count += 1
        elif handler == "execute":
            queue.execute_count += 1
            if queue.alarm_due(self.now) and not queue.triggered:
                queue.scheduled_at = None
            queue.triggered = False
        await self._do(step, self._begun_before(step))

    def _begun_before(self, step: Step) -> runs.Run | None:
        """The run of an event that may have begun in a burst that was lost."""
        event = step.event
        if event is None or event.begun is None:
            return None
        step.events[0] = unmarked(event)
        run = self.new_run(step.handler, self._detail(step), key=event.begun.key)
        self.begin_again(run, event.begun.attempts)
        return run

    async def _go_on(self, step: Step) -> None:
        """Go on with the step that came with continue-as-new."""
        run = self.take_up(self._detail(step))
        if run is not None:
            await self._do(step, run)

    def _detail(self, step: Step) -> Detail:
        queue = self._queue
        return {
            "event_count": queue.event_count,
            "execute_count": queue.execute_count,
            "created_at": (queue.created_at or self.life.started_at).isoformat(),
            "scheduled_at": queue.scheduled_at.isoformat() if queue.scheduled_at else None,
            "first": queue.event_count == 1 and bool(step.events),
            **step.detail(),
        }

    async def _do(self, step: Step, run: runs.Run | None = None) -> None:
        self._doing = step
        run = run or self.new_run(step.handler, self._detail(step))
        event = step.event
        summary = event.id if event is not None and event.id is not None else self.ref.key
        outcome = await self.execute(run, summary)
        if isinstance(outcome, runs.Carried):
            return
        self._doing = None
        if step.failed is not None and step.report is not None:
            self._told(step.failed, step.report, outcome)
            return
        match outcome:
            case runs.Succeeded(result):
                await self._succeeded(step, run, result)
            case runs.Failed(report, cause):
                self._cause = cause
                self._leave(behind(step.events, 1, run), dropped=self.terminating)
                await self._failed(step, report)
            case runs.Interrupted():
                self.ending.discarded += len(step.events)

    async def _succeeded(self, step: Step, run: runs.Run, result: RunResult) -> None:
        dropped = self.terminating
        results = [result, *result.after]
        for index, part in enumerate(results):
            if index:
                self._queue.event_count += 1
                self.record_burst(run, index, part)
            event = step.events[index] if step.events else None
            self._handled(step.handler, event, part, has_state=part is _newest(results))
        if not any(part.ran for part in results):
            self._queue.idle_due = step.idle_was_due
        rest = behind(step.events, len(results), run)
        if not rest or self._over() or result.reached is None:
            self._leave(rest, dropped=dropped)
            if dropped and rest and result.reached and result.reached.report:
                self.record_reached(self.next_in_burst(run, len(results)), result.reached)
            return
        if run.lost:
            # Those behind it keep their keys, and so go alone.
            self._leave(rest[1:], dropped=False)
            rest = [unmarked(rest[0])]
        left = step.model_copy(update={"events": rest, "scheduled_at": self._queue.scheduled_at})
        fallen = self.next_in_burst(run, len(results))
        if result.reached.report is None:
            self.begin_again(fallen, run.lost)
        await self._fall_out(left, fallen, result.reached)

    def _leave(self, events: list[EventIn], *, dropped: bool) -> None:
        """Leave events that an activity did not get to, to the queue or to who dropped them."""
        if dropped:
            self.ending.condemned += len(events)
        else:
            self._queue.put_back(events)

    async def _fall_out(self, step: Step, run: runs.Run, reached: Reached) -> None:
        """Go on with the event that ended a burst, which has become a run of its own."""
        self._queue.event_count += 1
        self._queue.idle_due = True
        failed = self.record_reached(run, reached)
        if failed is None:
            run.detail = self._detail(step)
            await self._do(step, run)
        else:
            self._cause = failed.cause
            self._leave(step.events[1:], dropped=False)
            await self._failed(step, failed.report)

    def _handled(
        self, handler: Handler, event: EventIn | None, result: RunResult, *, has_state: bool
    ) -> None:
        if not result.ran:
            self._rejected(event, result.detail["rejected"])
            return
        if has_state:
            self.keep_state(result)
        if "scheduled_at" in result.detail:
            self._set_alarm(result.detail["scheduled_at"], handler)
        if event is not None:
            self._queue.reply(event, {"reply": result.detail["reply"]})
        self.end_by_run(result)

    def _rejected(self, event: EventIn | None, reason: str) -> None:
        """An event that does not fit is no run; nothing is wrong with the job."""
        self._queue.event_count -= 1
        if event is not None and not self.refuse(event.id or "", reason):
            self.reject(reason, event.id)
            self._queue.reply(event, {"error": reason})

    def _set_alarm(self, at: str | None, handler: Handler) -> None:
        self._queue.scheduled_at = datetime.fromisoformat(at) if at else None
        if at is not None:
            self.emit_outcome(
                "task.scheduled",
                scheduledAt=iso_ms(datetime.fromisoformat(at)),
                trigger=_TRIGGERS[handler],
            )

    async def _failed(self, step: Step, report: Report) -> None:
        if "on_error" in self.rules.handlers and not self.terminating:
            await self._do(step.on_error(report))
        else:
            self._exhausted(step, report)

    def _told(self, failed: Step, report: Report, outcome: runs.Ended) -> None:
        """`on_error` was called, whatever came of it."""
        if isinstance(outcome, runs.Succeeded):
            self._handled("on_error", None, outcome.result, has_state=True)
            self.life.last_error = report.message
        if isinstance(outcome, runs.Interrupted) and self.terminating:
            self._dropped(failed.event, report)
        else:
            self._exhausted(failed, report)

    def _exhausted(self, step: Step, report: Report) -> None:
        event, rule = step.event, self.rules.on_exhausted
        if self.ending.at is not None or (self.terminating and rule != "terminate"):
            self._dropped(event, report)
            return
        match rule:
            case "terminate":
                self._dropped(event, report)
                self.fail(runs.Failed(report, self._cause or runs.cause_of(report)))
            case "pause":
                self.life.pause("exhausted", self.now)
                self._put_back(step)
            case "continue":
                if event is not None:
                    self._set_aside(event, report)

    def _set_aside(self, event: EventIn, report: Report) -> None:
        gone = self._queue.set_aside(event, report, self.now)
        if gone:
            workflow.logger.warning(
                "%d failed events had to go for a later one: too many are set aside", gone
            )
        self._queue.reply(event, {"error": report.message})

    def _dropped(self, event: EventIn | None, report: Report) -> None:
        if event is not None:
            self.ending.discarded += 1
            self._queue.reply(event, {"error": report.message})

    def _put_back(self, step: Step) -> None:
        """Let `resume` make the failed run anew."""
        queue = self._queue
        if step.event is not None:
            queue.event_count -= 1
            queue.put_back(step.events[:1])
        elif step.handler == "on_idle":
            queue.idle_due = True
        elif queue.scheduled_at is None:
            queue.execute_count -= 1
            queue.scheduled_at = step.scheduled_at or self.now

    # -- continue-as-new and answers

    def carry_extra(self) -> Detail:
        """The queue, with the alarm and what else the entity is."""
        doing = self._doing.model_dump(mode="json") if self._doing else None
        return {"queue": self._queue.model_dump(mode="json"), "begun": True, "doing": doing}

    def fresh_extra(self) -> Detail | None:
        """Events that came while the life ended."""
        if not self._queue.events:
            return None
        return {"queue": self._queue.behind().model_dump(mode="json")}

    def waiting_events(self) -> int:
        """See base class."""
        return super().waiting_events() + (0 if self.ended else self._queue.unfinished)

    def waiting_fits(self) -> bool:
        """See base class."""
        return self._queue.fits()

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
        run = self.run_shown
        shown = run.retry_at if run is not None and run.retry_at is not None else at
        return {
            **super().status(),
            "eventCount": len(self._queue.events) + (self._doing.count if self._doing else 0),
            "nextRunAt": shown.isoformat() if shown and self.ended is None else None,
            "handledEvents": self._queue.event_count,
            "failedEvents": self._queue.failed,
            "discardedEvents": self.ending.discarded or self._queue.crowded_out,
        }

    def story(self) -> str:
        """What the instance does, in a few words."""
        at = self._queue.scheduled_at
        if self.run_shown is not None or at is None or self.ended is not None or self.life.paused:
            return super().story()
        return f"next alarm at {at:%Y-%m-%d %H:%M:%S} UTC, {len(self._queue.events)} events wait"


def _newest(results: list[RunResult]) -> RunResult | None:
    """The result that has the state."""
    return next((result for result in reversed(results) if result.ran), None)
