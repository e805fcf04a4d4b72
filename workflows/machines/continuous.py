"""The machine of continuous jobs: tick after tick, with state, for ever."""

from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt

from durable_jobs.names import NEXT_DUE
from durable_jobs.protocol import Detail, JobType, Report, RunResult
from durable_jobs.questions import NextDue, NextDueRequest
from durable_jobs.schedule import CatchUp, ScheduleRule
from durable_jobs.spans import AnyTime
from durable_jobs.values import JSON

from .life import PausedBy
from .machine import Machine
from .messages import BadInput, Message, Refused
from .run import Run, Succeeded
from .steps import Call, Step, Wait
from .timetable import Timetable


class Spec(BaseModel):
    """What only the options of continuous jobs have."""

    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    schedule: ScheduleRule
    start_immediately: StrictBool
    catch_up: CatchUp = "skip"
    max_runs: StrictInt | None = None
    until: AnyTime | None = None


class Chosen(BaseModel):
    """What a run said of the next tick."""

    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    next_at: AnyTime | None = None


class ContinuousMachine(Machine):
    """One continuous instance."""

    job_type: ClassVar[JobType] = "continuous"
    spec_type: ClassVar[type[BaseModel]] = Spec

    # -- what it carries

    def restore(self, extra: Detail) -> None:
        """See base class."""
        anchor = self.life.started_at
        self._times = Timetable.model_validate(
            {"anchor": anchor, "seed": self.ref.instance_id, **extra.get("times", {})}
        )
        self._triggered = bool(extra.get("triggered"))
        self._due_at: str | None = extra.get("due_at")
        """When the run under way was due."""

        self._asked: NextDueRequest | None = None
        """What a worker is asked about the schedule at the moment."""

        self._purpose = ""
        self._found: dict[str, NextDue] = {}
        """The answer, by what it is for."""

    def extra(self) -> Detail:
        """See base class."""
        times = self._times.model_dump(mode="json")
        return {
            "times": times,
            "triggered": self._triggered,
            "due_at": self._due_at,
        }

    @property
    def at_rest(self) -> bool:
        """See base class."""
        return super().at_rest and self._asked is None

    # -- messages

    def take(self, message: Message) -> JSON:
        """See base class."""
        match message.verb:
            case "trigger":
                if not self.hurry():
                    self._triggered = True
            case "reschedule":
                if message.fault is not None:
                    raise Refused("DefinitionError", message.fault)
                self._times.override = message.rule
                self._forget()
                return {"status": self.status_word(), "schedule": self._shown_schedule()}
            case _:
                raise BadInput(f"continuous jobs know no {message.verb!r}")
        return {"status": self.status_word()}

    def resume(self, at: datetime, note: str | None = None, by: PausedBy = "user") -> None:
        """See base class. Ticks missed while paused are not made up for."""
        was_paused = self.life.paused is not None
        super().resume(at, note, by)
        times = self._times
        if was_paused and (times.due is None or times.due <= at or not times.chosen):
            self._forget()

    def _forget(self) -> None:
        """Plan the next tick anew."""
        self._times.forget()
        self._asked, self._found = None, {}

    # -- ticks

    def decide(self, now: datetime) -> Step:
        """See base class."""
        if self._asked is not None:
            return Wait()
        if (held := self.held_off(now)) is not None:
            return held
        if (reason := self._planned_end(now)) is not None:
            return self.complete(reason, now)
        if self._triggered:
            return self._trigger(now)
        if self._times.due is None:
            return self._plan(now) or self.decide(now)
        due_now = self._times.runs_at is not None and now >= self._times.runs_at
        if due_now and not self.life.paused and not self._past_end:
            return self._tick(now)
        return self._wait_for_tick(now)

    def begin_life(self) -> None:
        """See base class."""
        given = self.life.state if self.rules.include_state else None
        self.tell_start(input=given)
        if self._spec.start_immediately and self._times.override is None:
            self._times.start()

    def _wait_for_tick(self, now: datetime) -> Step:
        until = self._until if self.life.paused or self._past_end else self._times.runs_at
        return Wait(until, f"tick {self.ref.key}")

    def _plan(self, now: datetime) -> Step | None:
        """Set the next tick; a `Call` where only a worker knows when it is due."""
        found = self._answer("plan", self._times.next_after(self._rule, now))
        if not isinstance(found, NextDue):
            return found
        self._times.plan(found)
        return None

    def _trigger(self, now: datetime) -> Step:
        due = self._times.runs_at
        following = due if due is not None and due > now and not self.life.paused else None
        if following is None:
            found = self._answer("trigger", self._times.next_after(self._rule, now))
            if not isinstance(found, NextDue):
                return found
            following = _own_time(found)
        if self.life.paused:
            # No tick comes next; the retries get at least one interval.
            found = self._answer("retries", self._times.next_after(self._rule, following))
            if not isinstance(found, NextDue):
                return found
            following = _own_time(found)
        self._triggered = False
        return self._execute(now, following, now)

    def _tick(self, now: datetime) -> Step:
        # What is skipped was missed by the schedule, whether the end came in between or not.
        end = None if self._catch_up == "skip" else self._until
        found = self._answer("tick", self._times.look(self._rule, now, end))
        if not isinstance(found, NextDue):
            return found
        due = self._times.take(found, self._catch_up)
        return self.decide(now) if due is None else self._execute(due, _own_time(found), now)

    def _execute(self, due: datetime, following: datetime, now: datetime) -> Step:
        self._due_at = due.isoformat()
        retry = self.rules.retry
        # By default a run is tried again until the next tick is due.
        unlimited = retry.max_attempts is None and retry.max_duration is None
        return self.begin("execute", now, deadline=following if unlimited else None)

    def _answer(self, purpose: str, found: NextDue | NextDueRequest) -> NextDue | Call:
        """The answer itself, or the call that gets it from a worker."""
        if isinstance(found, NextDue):
            return found
        if purpose in self._found:
            return self._found.pop(purpose)
        self._asked, self._purpose = found, purpose
        return Call(NEXT_DUE, found, NextDue, "when the next tick is due")

    def answered(self, name: str, answer: BaseModel, now: datetime) -> None:
        """See base class. After a change of the schedule an answer is out of date."""
        super().answered(name, answer, now)
        if isinstance(answer, NextDue) and self._asked is not None:
            self._asked = None
            self._found[self._purpose] = answer

    def call_failed(self, name: str, message: str) -> None:
        """See base class."""
        super().call_failed(name, message)
        if name == NEXT_DUE:
            self._asked = None

    # -- runs

    def detail(self) -> Detail:
        """See base class."""
        first = self.life.run_count == 1 and self.life.traceparent is not None
        return {
            "due_at": self._due_at,
            **({"traceparents": [self.life.traceparent]} if first else {}),
        }

    def summary(self) -> str:
        """See base class."""
        return f"due {datetime.fromisoformat(str(self._due_at)):%Y-%m-%d %H:%M:%S} UTC"

    def check_result(self, run: Run, result: RunResult) -> None:
        """See base class."""
        Chosen.model_validate(result.detail)

    def succeeded(self, run: Run, done: Succeeded, now: datetime) -> None:
        """See base class."""
        result = done.result
        self.keep_state(result.state, result.state_version)
        chosen = Chosen.model_validate(result.detail).next_at
        if chosen is not None:
            self._times.choose(chosen)
        self.end_if_asked(result, now)

    def exhausted(self, run: Run, report: Report, now: datetime) -> None:
        """See base class."""
        match self.rules.on_exhausted:
            case "terminate":
                self.fail(report, now)
            case "pause":
                self.pause("exhausted", now)
            case "continue":
                pass

    # -- the planned end

    def _planned_end(self, now: datetime) -> str | None:
        """Why the instance has come to the end that its definition plans, if it has."""
        most, until = self._spec.max_runs, self._spec.until
        if most is not None and self.life.run_count >= most:
            return f"max_runs reached after {self.life.run_count} runs"
        if until is None or now < until:
            return None
        # What was due before it and could not run yet is caught up on as ever.
        waits = self._times.due is not None and not self._past_end and not self.life.paused
        return None if waits else f"until {until.isoformat()} reached"

    @property
    def _past_end(self) -> bool:
        due, until = self._times.due, self._until
        return due is not None and until is not None and due > until

    def begin_anew(self, now: datetime) -> None:
        """See base class."""
        super().begin_anew(now)
        self.restore({})

    # -- the definition, as recorded

    def options_changed(self) -> None:
        """Plan anew where the schedule has changed."""
        self._spec = Spec.model_validate(self.rules.spec)
        rule = self._spec.schedule
        before: ScheduleRule | None = getattr(self, "_own_rule", None)
        self._own_rule: ScheduleRule = rule
        if before is not None and self._times.override is None and not before.same_times(rule):
            self._forget()

    @property
    def _rule(self) -> ScheduleRule:
        return self._times.override or self._own_rule

    @property
    def _catch_up(self) -> CatchUp:
        return self._spec.catch_up

    @property
    def _until(self) -> datetime | None:
        return self._spec.until

    # -- answers

    def waiting_word(self) -> str:
        """See base class."""
        return "scheduled"

    def status(self) -> Detail:
        """See base class."""
        found = super().status()
        planned = None if self.life.paused or self._past_end_known else self._times.runs_at
        return {
            **found,
            "nextRunAt": None
            if self.over
            else found["nextRunAt"] or (planned.isoformat() if planned else None),
            "schedule": self._shown_schedule(),
            "rescheduled": self._times.override is not None,
        }

    @property
    def _past_end_known(self) -> bool:
        return self.options is None or self._past_end

    def _shown_schedule(self) -> Detail | None:
        known = self.options is not None or self._times.override is not None
        return self._rule.model_dump(exclude_defaults=True) if known else None

    def story(self) -> str:
        """See base class."""
        at = self._times.runs_at
        if self.run is not None or at is None or self.life.paused or self.closing:
            return super().story()
        return f"next run at {at:%Y-%m-%d %H:%M:%S} UTC"


def _own_time(found: NextDue) -> datetime:
    """When the tick runs that was found, jitter included."""
    return found.at + timedelta(seconds=found.delay)
