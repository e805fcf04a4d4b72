"""The workflow of continuous jobs: tick after tick, with state, for ever."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.protocol import Detail, JobType, RunResult
from durable_jobs.schedule import CatchUp, ScheduleRule
from durable_jobs.spans import LONGEST
from durable_jobs.tracking.endings import after_runs, at_last
from durable_jobs.wire import JSON

from . import runs
from .base import JobWorkflow
from .due_times import answered, fault_in, shown
from .inputs import BadInput, raw_start, read_schedule
from .timetable import Timetable


@workflow.defn(name="ContinuousJob", sandboxed=False)
class ContinuousWorkflow(JobWorkflow):
    """One continuous instance."""

    job_type: ClassVar[JobType] = "continuous"
    bare: ClassVar[frozenset[str]] = JobWorkflow.bare | {"trigger"}

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        extra = self.carried.extra if self.carried else {}
        self._times: Timetable = Timetable.model_validate(
            {"anchor": self.now, "seed": self.ref.instance_id, **extra}
        )
        self._triggered = bool(extra.get("triggered", False))
        self._running: Detail = extra.get("running", {})
        """The run under way: the time it is `due_at`."""

        self._begun = bool(extra)
        self._judged: set[asyncio.Task[None]] = set()
        self._schedules_asked = self._schedules_taken = 0
        if not self._begun and "state" in self.start and self.start["state"] is not None:
            self.life.state, self.life.has_state = self.start["state"], True
            self.life.state_version = int(self.start.get("stateVersion", 1))

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until terminated, or until the planned end."""
        return await self.main()

    # -- receiving

    def handle_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal."""
        match name:
            case "trigger":
                self._triggered = True
            case "reschedule":
                asked = asyncio.create_task(self._rescheduled(read_schedule(args)))
                self._judged.add(asked)
                asked.add_done_callback(self._judged.discard)
            case _:
                super().handle_signal(name, args)

    def check_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse what has the wrong shape."""
        if name == "reschedule":
            read_schedule(args)
        else:
            super().check_update(name, args)

    async def handle_update(self, name: str, args: Sequence[RawValue]) -> JSON:
        """Answer an update."""
        if name != "reschedule":
            return await super().handle_update(name, args)
        fault = await self._reschedule(read_schedule(args))
        if fault is not None:
            raise ApplicationError(fault, type="DefinitionError", non_retryable=True)
        return {"status": self.status_word(), "schedule": self._shown_schedule()}

    async def _rescheduled(self, rule: ScheduleRule | None) -> None:
        fault = await self._reschedule(rule)
        if fault is not None:
            self.on_bad_signal("reschedule", BadInput(fault))
        self.show()

    async def _reschedule(self, rule: ScheduleRule | None) -> str | None:
        """Take over a schedule, unless it is wrong or a later one was taken meanwhile."""
        self._schedules_asked += 1
        number = self._schedules_asked
        fault = await fault_in(rule, self.now) if rule is not None else None
        if fault is None and number > self._schedules_taken:
            self._schedules_taken = number
            self._times.override = rule
            self._times.forget()
        return fault

    def resume(self, note: str | None = None) -> None:
        """Go on with the next tick; those missed while paused are not made up for."""
        if self.life.paused:
            super().resume(note)
            times = self._times
            if times.due is None or times.due <= self.now or not times.chosen:
                times.forget()

    # -- ticks

    async def live(self) -> bool:
        """Run tick after tick."""
        if not self._begun:
            await self._begin()
        if (kept := self.take_up({"due_at": self._running.get("due_at")})) is not None:
            await self._execute(kept)
        if await self._tick_on():
            return True
        if self.ended is None:
            self.ending.status = "terminated"
            self.emit_terminated()
        return False

    async def _tick_on(self) -> bool:
        """Returns True to continue as new."""
        while not self._over() and self.run_kept is None:
            match await self._next():
                case None if not self._over():
                    return True
                case None:
                    pass
                case "trigger":
                    await self._trigger()
                case "tick":
                    await self._tick()
        return not self._over()

    def _over(self) -> bool:
        return self.terminating or self.ended is not None

    async def _begin(self) -> None:
        self._begun = True
        given = self.life.state if self.rules.include_state else None
        self.emit("job.started", self.life.started_at, settled=True, input=given)
        if self.rules.spec["start_immediately"] and self._times.override is None:
            self._times.start()

    async def _next(self) -> Literal["tick", "trigger"] | None:
        """Wait for a tick or a trigger; None where the instance ends or continues as new."""
        times = self._times
        while not (self._over() or self._carry_now()):
            end = self._planned_end()
            if end is not None:
                self._complete(end)
            elif self._triggered:
                self._triggered = False
                return "trigger"
            elif times.runs_at is None:
                await self._plan()
            elif not self.life.paused and self.now >= times.runs_at and not self._past_end():
                return "tick"
            else:
                await self._wait_for_tick(times.runs_at)
        return None

    async def _plan(self) -> None:
        rule = self._rule
        found = await answered(self._times.next_after(rule, self.now))
        if rule == self._rule:
            self._times.plan(found)

    async def _wait_for_tick(self, runs_at: datetime) -> None:
        paused, due = self.life.paused, self._times.due
        end = self._until
        until = end if paused or self._past_end() else runs_at
        if until is not None:
            # A server counts the nanoseconds of a timer, which are soon too many.
            until = min(until, self.now + LONGEST)
        await self.wait(
            lambda: (
                self._over()
                or self._triggered
                or self.life.paused != paused
                or self._times.due is not due
                or (self._carry_now() and not self._over())
            ),
            until,
            f"tick {self.ref.key}",
        )

    def should_continue_as_new(self) -> bool:
        """Whether this run's history is long enough, and no schedule is being judged."""
        return not self._judged and super().should_continue_as_new()

    def _lets_go(self) -> bool:
        return not self._judged and super()._lets_go()

    def _carry_now(self) -> bool:
        return self.should_continue_as_new() and workflow.all_handlers_finished()

    async def _trigger(self) -> None:
        times = self._times
        if times.due is None:
            await self._plan()
        following = times.runs_at
        if self.life.paused or following is None or following <= self.now:
            following = (await answered(times.next_after(self._rule, self.now))).at
        if self.life.paused:
            # No tick comes next; the retries get at least one interval.
            following = (await answered(times.next_after(self._rule, following))).at
        await self._run(self.now, following)

    async def _tick(self) -> None:
        times, due, paused = self._times, self._times.due, self.life.paused
        # What is skipped was missed by the schedule, whether the end came in between or not.
        until = None if self._catch_up == "skip" else self._until
        found = await answered(times.look(self._rule, self.now, until))
        if times.due is not due or self.life.paused != paused or self._over():
            return
        taken = times.take(found, self._catch_up)
        if taken is not None:
            await self._run(taken, found.at + timedelta(seconds=found.delay))

    async def _run(self, due: datetime, following: datetime) -> None:
        detail: Detail = {"due_at": due.isoformat()}
        self._running = dict(detail)
        await self._execute(self.new_run("execute", detail, deadline=self._deadline(following)))

    async def _execute(self, run: runs.Run) -> None:
        before = self._rule
        due = datetime.fromisoformat(run.detail["due_at"])
        outcome = await self.execute(run, f"due {due:%Y-%m-%d %H:%M:%S} UTC")
        if not before.same_times(self._rule):
            self._times.forget()
        match outcome:
            case runs.Succeeded(result):
                self._succeeded(result)
            case runs.Failed():
                self._exhausted(outcome)
            case runs.Interrupted() | runs.Carried():
                pass

    def _succeeded(self, result: RunResult) -> None:
        self.keep_state(result)
        chosen = result.detail.get("next_at")
        if chosen is not None:
            self._times.choose(datetime.fromisoformat(chosen))
        self.end_by_run(result)

    def _deadline(self, following: datetime | None) -> datetime | None:
        """By default a run is tried again until the next tick is due."""
        retry = self.rules.retry
        unlimited = retry.max_attempts is None and retry.max_duration is None
        return following if unlimited else None

    def _exhausted(self, failed: runs.Failed) -> None:
        match self.rules.on_exhausted:
            case "terminate":
                self.fail(failed)
            case "pause":
                self.life.pause("exhausted", self.now)
            case "continue":
                pass

    # -- the planned end

    def _planned_end(self) -> str | None:
        """Why the instance has come to the end that its definition plans, if it has."""
        if self._enough_runs:
            return after_runs(self.life.run_count)
        until = self._until
        if until is None or self.now < until:
            return None
        # What was due before it and could not run yet is caught up on as ever.
        waits = self._times.due is not None and not self._past_end() and not self.life.paused
        return None if waits else at_last(until)

    def _past_end(self) -> bool:
        due, until = self._times.due, self._until
        return due is not None and until is not None and due > until

    def _complete(self, reason: str) -> None:
        self.ending.asked = self.ending.planned = True
        self.ending.reason, self.ending.status = reason, "completed"
        self.ending.at = self.done_at if self._enough_runs else None
        self.emit_terminated()

    # -- the definition, as recorded

    @property
    def _rule(self) -> ScheduleRule:
        own = self.rules.spec["schedule"]
        return self._times.override or ScheduleRule.model_validate(own)

    @property
    def _catch_up(self) -> CatchUp:
        return self.rules.spec.get("catch_up", "skip")

    @property
    def _enough_runs(self) -> bool:
        most = self.rules.spec.get("max_runs")
        return most is not None and self.life.run_count >= most

    @property
    def _until(self) -> datetime | None:
        until = self.rules.spec.get("until")
        return datetime.fromisoformat(until) if until else None

    # -- continue-as-new and answers

    def carry_extra(self) -> Detail:
        """The schedule's place."""
        return {
            **self._times.model_dump(mode="json"),
            "triggered": self._triggered,
            "running": self._running,
        }

    def waiting_word(self) -> str:
        """`scheduled` while it waits for a tick."""
        return "scheduled"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        due = None if self.life.paused or self.options is None else self._times.runs_at
        if due is not None and self._past_end():
            due = None
        if self.run_shown is not None and self.run_shown.retry_at is not None:
            due = self.run_shown.retry_at
        return {
            **super().status(),
            "nextRunAt": due.isoformat() if due and self.ended is None else None,
            "schedule": self._shown_schedule(),
            "rescheduled": self._times.override is not None,
        }

    def _shown_schedule(self) -> Detail | None:
        known = self.options is not None or self._times.override is not None
        return shown(self._rule) if known else None

    def story(self) -> str:
        """What the instance does, in a few words."""
        if self.run_shown is not None or self._times.due is None or self.life.paused:
            return super().story()
        return f"next run at {self._times.due:%Y-%m-%d %H:%M:%S} UTC"
