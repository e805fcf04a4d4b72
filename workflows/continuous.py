"""The workflow of continuous jobs: tick after tick, with state, for ever."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from temporalio import workflow
from temporalio.common import RawValue

from durable_jobs.protocol import NEXT_DUE, Detail, JobType, NextDue, NextDueRequest
from durable_jobs.schedule import ScheduleRule

from . import runs
from .base import JobWorkflow
from .inputs import raw_start
from .library import call


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
        self._anchor = datetime.fromisoformat(extra.get("anchor", self.now.isoformat()))
        due = extra.get("due")
        self._due: datetime | None = datetime.fromisoformat(due) if due else None
        self._delay = timedelta(seconds=extra.get("delay", 0))
        self._triggered = bool(extra.get("triggered", False))
        self._running: Detail = extra.get("running", {})
        """The run under way: the time it is `due_at`, and whether it is a `tick`."""

        self._begun = bool(extra)
        if not self._begun and "state" in self.start and self.start["state"] is not None:
            self.life.state, self.life.has_state = self.start["state"], True
            self.life.state_version = int(self.start.get("stateVersion", 1))

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until terminated."""
        return await self.main()

    # -- receiving

    def handle_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal."""
        if name == "trigger":
            self._triggered = True
        else:
            super().handle_signal(name, args)

    def resume(self, note: str | None = None) -> None:
        """Go on with the next tick; those missed while paused are not made up for."""
        if self.life.paused:
            super().resume(note)
            self._due = None

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
        if self.rules.spec["start_immediately"]:
            self._due = self._anchor

    async def _next(self) -> Literal["tick", "trigger"] | None:
        """Wait for a tick or a trigger; None where the instance ends or continues as new."""
        while not (self._over() or self._carry_now()):
            if self._triggered:
                self._triggered = False
                return "trigger"
            fire_at = (self._due or await self._plan(self.now)) + self._delay
            if not self.life.paused and self.now >= fire_at:
                return "tick"
            await self._wait_for_tick(fire_at)
        return None

    async def _plan(self, after: datetime) -> datetime:
        """Set when the next tick is due, and how long jitter delays it."""
        rule = ScheduleRule.model_validate(self.rules.spec["schedule"])
        if rule.every is not None:
            self._due = _next_multiple(self._anchor, rule.every, after)
        else:
            request = NextDueRequest(rule=rule.model_dump(), after=after)
            self._due = (await call(NEXT_DUE, request, NextDue, "when the next tick is due")).at
        self._delay = timedelta(seconds=workflow.random().uniform(0, rule.jitter))
        return self._due

    async def _wait_for_tick(self, due: datetime) -> None:
        paused = self.life.paused
        await self.wait(
            lambda: (
                self._over()
                or self._triggered
                or self.life.paused != paused
                or (self._carry_now() and not self._over())
            ),
            None if paused else due,
            f"tick {self.ref.key}",
        )

    def _carry_now(self) -> bool:
        return self.should_continue_as_new() and workflow.all_handlers_finished()

    async def _trigger(self) -> None:
        if self._due is None or self._due <= self.now:
            # Its next tick bounds the retries; one missed while paused is over.
            missed = self._due
            following = await self._plan(self.now)
            if self.life.paused:
                # No tick comes next; the retries get at least one interval.
                following = await self._plan(following)
            elif missed is not None:
                self._due = missed
        else:
            following = self._due
        await self._run(self.now, following, tick=False)

    async def _tick(self) -> None:
        due = self._due or self.now
        following = await self._plan(max(due, self.now))
        await self._run(due, following, tick=True)

    async def _run(self, due: datetime, following: datetime, *, tick: bool) -> None:
        self._running = {"due_at": due.isoformat(), "tick": tick}
        detail: Detail = {"due_at": due.isoformat()}
        await self._execute(self.new_run("execute", detail, deadline=self._deadline(following)))

    async def _execute(self, run: runs.Run) -> None:
        due = datetime.fromisoformat(run.detail["due_at"])
        outcome = await self.execute(run, f"due {due:%Y-%m-%d %H:%M:%S} UTC")
        match outcome:
            case runs.Succeeded(result):
                self.keep_state(result)
                overdue = self._due is not None and self._due + self._delay <= self.now
                if result.options is not None or (self._running["tick"] and overdue):
                    # The schedule may be another one now; or the run took longer than the
                    # interval: what it missed is skipped. After a failed one the next tick
                    # follows, however late its last attempt ended.
                    self._due = None
                self.end_by_run(result)
            case runs.Failed():
                self._exhausted(outcome)
            case runs.Interrupted() | runs.Carried():
                pass

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

    # -- continue-as-new and answers

    def carry_extra(self) -> Detail:
        """The schedule's place."""
        return {
            "anchor": self._anchor.isoformat(),
            "due": self._due.isoformat() if self._due else None,
            "delay": self._delay.total_seconds(),
            "triggered": self._triggered,
            "running": self._running,
        }

    def waiting_word(self) -> str:
        """`scheduled` while it waits for a tick."""
        return "scheduled"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        due = self._due + self._delay if self._due and not self.life.paused else None
        if self.run_shown is not None and self.run_shown.retry_at is not None:
            due = self.run_shown.retry_at
        shown = due.isoformat() if due and self.ended is None else None
        return {**super().status(), "nextRunAt": shown}

    def story(self) -> str:
        """What the instance does, in a few words."""
        if self.run_shown is not None or self._due is None or self.life.paused:
            return super().story()
        return f"next run at {self._due:%Y-%m-%d %H:%M:%S} UTC"


def _next_multiple(anchor: datetime, every: float, moment: datetime) -> datetime:
    """The first `anchor + n * every` after `moment`: free of drift."""
    step = timedelta(seconds=every)
    # In whole microseconds: with floats, one in a hundred steps would come twice or be missed.
    return anchor + step * ((moment - anchor) // step + 1)
