"""What the machines of all job types share: a life, its runs, and how it ends."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import BaseModel, Field

from durable_jobs.names import DESCRIBE, FIND_JOB
from durable_jobs.protocol import (
    Detail,
    Executed,
    Heartbeat,
    JobRef,
    JobType,
    Options,
    Report,
    RunRequest,
    RunResult,
)
from durable_jobs.questions import Described
from durable_jobs.spans import later
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.tracking.outbox import Outbox
from durable_jobs.values import JSON

from .life import Ended, Ending, Life, PausedBy
from .messages import Message
from .run import CutOff, Failed, Lost, NoHandler, Outcome, Run, Succeeded
from .steps import Attempt, Call, Cancel, Finish, Step, Wait

NO_ROOM = (
    "the history has no room for more attempts, and more waits behind this one than a new one can "
    "begin with; nothing is lost, resume makes one more attempt"
)

SHORTEST_RECHECK, LONGEST_RECHECK = timedelta(seconds=5), timedelta(minutes=15)
"""Between two looks whether the whole job is still paused."""

LONGEST_SEARCH_PAUSE = 5.0
"""Seconds between two tries to find a worker that has the handler."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a machine must not make for itself: the driver gives what a replay repeats."""

    mint: Callable[[], str]
    """A new idempotency key."""

    chance: Callable[[], float]
    """A number from 0 to 1."""

    warn: Callable[[str], None]
    """Log something."""


class Snapshot(BaseModel):
    """A machine as it travels with continue-as-new. It never has an attempt under way."""

    life: Life
    run: Run | None = None
    options: Options | None = None
    confirmed: bool = False
    waiting: int = 0
    """Events that were accepted and have not run yet; for `reconcile`, which reads nothing else."""

    discarded: int = 0
    """Events that were accepted and never will run: a life may go on after a `clear`."""

    extra: Detail = Field(default_factory=dict)
    """What only one job type has."""


@dataclass
class Search:
    """The search for a worker that knows the job, or has the handler."""

    needed: bool = False
    asking: str | None = None
    """The name of the call under way."""

    tries: int = field(default=0)
    failed: bool = False
    """Whether the last answer was none, so that the next call waits a little."""

    again_at: datetime | None = None


class Machine(ABC):
    """Decides what one instance does next. Knows no Temporal, no clock and no chance."""

    job_type: ClassVar[JobType]
    spec_type: ClassVar[type[BaseModel]]
    """What the options of this job type alone must look like."""

    def __init__(
        self, ref: JobRef, now: datetime, outbox: Outbox, tools: Tools, kept: Snapshot | None = None
    ) -> None:
        self.ref = ref
        self.outbox = outbox
        self.tools = tools
        self.life: Life = kept.life if kept else Life(started_at=now)
        self.ending: Ending = Ending(discarded=kept.discarded if kept else 0)
        self.run: Run | None = kept.run if kept else None
        self.running: bool = False
        """Whether an attempt is under way."""

        self.options: Options | None = None
        self.confirmed: bool = kept.confirmed if kept else False
        """Whether the options are a worker's, not only a client's."""

        self.carry_due: bool = False
        """Set by the driver: continue-as-new waits until what it carries is small."""

        self.history_full: bool = False
        """Set by the driver: what waits cannot be carried, and each attempt needs more room."""

        self._hurried = False
        """Whether a caller asked for the next attempt."""

        self._search = Search()
        self._untold: list[tuple[str, datetime, Detail]] = []
        """Pauses that are not told yet."""

        self.restore(kept.extra if kept else {})
        if kept is not None and kept.options is not None:
            self._use(kept.options)

    # -- options

    def adopt(self, options: Options | None, now: datetime) -> None:
        """Take over the options that a worker gave."""
        if options is None:
            return
        try:
            self._use(options)
        except ValueError as error:
            self.life.last_error = f"a worker's options for the job cannot be used: {error}"
            return
        self.outbox.track(options.tracking)
        if not self.confirmed:
            self.confirmed, self.life.last_error = True, None

    def not_known(self, message: str) -> None:
        """A worker does not know the job; until one does, the instance says so."""
        if not self.confirmed:
            self.life.last_error = message

    def suggest(self, options: Options) -> None:
        """Take the options of the client that started the instance, until a worker's come.

        Raises:
            ValueError: they cannot be used.
        """
        if self.options is None:
            self._use(options)

    def _use(self, options: Options) -> None:
        self.spec_type.model_validate(options.spec)
        self.options = options
        self.options_changed()

    def options_changed(self) -> None:  # noqa: B027 - few need it
        """Derive what follows from the options."""

    @property
    def rules(self) -> Options:
        """The options, once known."""
        if self.options is None:
            raise RuntimeError("options are not known yet")
        return self.options

    # -- messages

    def receive(self, message: Message) -> JSON:
        """Take one message; returns the answer of an update.

        Raises:
            BadInput: the message cannot be taken, and nothing has changed.
        """
        match message.verb:
            case "pause":
                self.pause("user", message.at, message.text)
            case "resume":
                self.resume(message.at, message.text)
            case "terminate":
                self.terminate(message.text)
            case _:
                return self.take(message)
        return {"status": self.status_word()}

    @abstractmethod
    def take(self, message: Message) -> JSON:
        """Take a message of the job type's own."""

    def pause(self, by: PausedBy, at: datetime, note: str | None = None) -> None:
        """Start no new run until resumed."""
        if self.life.pause(by, at, note):
            self._tell_pause("job.paused", by, at, note)

    @property
    def begun(self) -> bool:
        """Whether the start of the life, or of its window, was told: no pause is told before it."""
        return self.life.begun

    def begin_life(self) -> None:  # noqa: B027 - a debounce tells of its windows
        """Tell of the life's start."""

    def tell_start(self, **fields: JSON) -> None:
        """Tell of the life's start, and of pauses that came before it could be told."""
        self.life.begun = True
        self.emit("job.started", self.life.started_at, **fields)
        self.tell_pauses()

    def _tell_pause(self, kind: str, by: PausedBy, at: datetime, note: str | None) -> None:
        """A caller's is told at the next step: it comes ahead of what was sent before it."""
        self._untold.append((kind, at, {"by": by, "note": note}))
        if by != "user":
            self.tell_pauses()

    def tell_pauses(self) -> None:
        """Tell of the pauses that are not told yet."""
        untold, self._untold = self._untold, []
        for kind, at, fields in untold:
            self.emit(kind, at, **fields)

    def resume(self, at: datetime, note: str | None = None, by: PausedBy = "user") -> None:
        """Go on, and at once with a run that waits for its next attempt.

        By `exhausted` where the pause after a failed run ends by itself.
        """
        if self.life.resume(at, note):
            self._tell_pause("job.resumed", by, at, note)
        self.hurry()

    def hurry(self) -> bool:
        """Begin the next attempt now. Returns whether a run waited for it."""
        waits = self.run is not None and not self.running and not self._search.needed
        if self.run is not None and waits:
            self.run.retry_at, self._hurried = None, True
        return waits

    def terminate(self, reason: str | None) -> None:
        """Begin to end the life. What waits is dropped and counted."""
        self.ending.discarded += self.discard_waiting()
        if not self.ending.asked:
            self.ending.asked, self.ending.reason = True, reason

    def discard_waiting(self) -> int:
        """Drop the events that wait; returns how many."""
        return 0

    def reject(self, reason: str, at: datetime, event_id: str | None = None) -> None:
        """Count an event that was not taken, and keep why."""
        self.life.reject(reason, at, event_id)

    # -- the next step

    def next(self, now: datetime) -> Step:
        """What to do now. Each `Attempt` and `Call` is given once and must be made."""
        if self.over:
            return Finish()
        if self.begun:
            self.tell_pauses()
        if self.running:
            return Cancel() if self.ending.asked else self.beside(now) or Wait()
        if self.ending.asked:
            self._give_up_run(now)
            self._end_as_asked(now)
            return Finish()
        if self.options is None or self._search.needed:
            return self.held_off(now) or self._find_worker()
        if self.run is not None:
            return self._next_attempt(self.run, now)
        if not self.life.begun:
            self.begin_life()
        return self.decide(now)

    @abstractmethod
    def decide(self, now: datetime) -> Step:
        """What to do while no run is under way. May end the life, and then gives `Finish`."""

    def beside(self, now: datetime) -> Call | None:
        """What can be done while a run is under way, or while more messages wait."""
        return None

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way, or untold, that continue-as-new would cut off."""
        busy = self.running or self._search.asking or self.over or self.ending.asked
        return not (busy or self._untold)

    def _next_attempt(self, run: Run, now: datetime) -> Step:
        if run.retry_at is not None and run.retry_at > now:
            return self.beside(now) or Wait(run.retry_at, f"next attempt {self.ref.key}")
        if self._is_held:
            self.pause("exhausted", now, NO_ROOM)
            return self.beside(now) or Wait()
        run.retry_at, self._hurried = None, False
        run.began_at = run.began_at or now
        self.running = True
        return Attempt()

    @property
    def _is_held(self) -> bool:
        """Whether the next attempt waits for a caller: the server ends what goes on without end."""
        began = self.run is not None and self.run.began_at is not None
        return self.history_full and began and not (self.running or self._hurried)

    def held_off(self, now: datetime) -> Wait | None:
        """The wait before something is asked again to which the answer was none."""
        search = self._search
        if search.failed:
            search.failed, search.again_at = False, later(now, LONGEST_SEARCH_PAUSE)
        if search.again_at is None or search.again_at <= now:
            return None
        return Wait(search.again_at, "ask a worker again")

    def _find_worker(self) -> Step:
        """Ask for the options; an unknown job is asked for until a worker knows it."""
        if self._search.asking:
            return Wait()
        first = self.options is None and not self._search.needed
        self._search.asking = DESCRIBE if first else FIND_JOB
        summary = "read the job's definition" if first else "find a worker with the job"
        return Call(self._search.asking, self.ref, Described, summary)

    def answered(self, name: str, answer: BaseModel, now: datetime) -> None:
        """Take the answer to a `Call`."""
        if not isinstance(answer, Described):
            return
        self._search.asking = None
        self._search.needed = not answer.known
        if not answer.known:
            self.life.last_error = answer.message
            return
        self.adopt(answer.options, now)
        self._search.tries += 1
        run = self.run
        if run is None:
            self.life.last_error = None
        elif run.handler not in self.rules.handlers:
            self.life.last_error = f"the job has no {run.handler} any more; the call is left out"
            self.run = None
            self.life.run_count -= run.attempt == 1
            self.given_up(now)
        else:
            # Another worker that lacks the handler may take the next one too.
            pause = min(0.1 * 2.0 ** min(self._search.tries, 8), LONGEST_SEARCH_PAUSE)
            run.retry_at = now + timedelta(seconds=pause)

    def call_failed(self, name: str, message: str) -> None:
        """A `Call` has failed for good, or its answer is none."""
        self.life.last_error = message
        self._search.asking, self._search.failed = None, True

    # -- runs

    def begin(self, handler: str, now: datetime, deadline: datetime | None = None) -> Step:
        """Count a run and begin its first attempt."""
        return self.begin_run(self.new_run(handler, self.tools.mint(), deadline), now)

    def new_run(self, handler: str, key: str, deadline: datetime | None = None) -> Run:
        """Count a run."""
        self.life.run_count += 1
        return Run(handler=handler, count=self.life.run_count, key=key, deadline=deadline)

    def begin_run(self, run: Run, now: datetime) -> Step:
        """Begin the first attempt of a run, or the next one of one that had begun before."""
        self.run = run
        return self._next_attempt(run, now)

    def request(self) -> RunRequest:
        """The input of the next attempt."""
        run = self.run
        if run is None:
            raise RuntimeError("no run is under way")
        return RunRequest(
            **self.ref.model_dump(),
            handler=run.handler,
            run_count=run.count,
            idempotency_key=run.key,
            attempt=run.attempt,
            first_started_at=run.first_started_at,
            deadline=run.deadline,
            timeout=self.rules.timeout,
            digest=self.rules.digest if self.confirmed else "",
            state=self.life.state,
            has_state=self.life.has_state,
            state_version=self.life.state_version,
            checkpoint=run.checkpoint,
            progress=run.progress,
            detail=self.detail(),
        )

    @abstractmethod
    def detail(self) -> Detail:
        """What only this job type's handlers need for the run at hand."""

    @abstractmethod
    def summary(self) -> str:
        """What the run at hand is about, for the Temporal UI."""

    def outcome(self, outcome: Outcome, now: datetime) -> None:
        """Take what came of the attempt under way."""
        run = self.run
        if run is None or not self.running:
            return
        self.running = False
        match outcome:
            case Succeeded(result) if (fault := self._fault_of(run, result)) is not None:
                message = f"the result of {run.handler} cannot be used: {fault}"
                self._lost(run, Lost(message, "InvalidResult"), now)
            case Succeeded(result):
                self._job_resumed(now)
                self.run, self._search.tries = None, 0
                self.adopt(result.options, now)
                self.executed(run, result.executed, ran=result.ran)
                self.succeeded(run, outcome, now)
            case Failed(report):
                self._failed(run, report, now)
            case Lost():
                self._lost(run, outcome, now)
            case NoHandler(message):
                self.life.last_error, self._search.needed = message, True
            case CutOff():
                pass

    def _failed(self, run: Run, report: Report, now: datetime) -> None:
        if report.job_pause is not None:
            self._job_paused(run, report, now)
            return
        self._job_resumed(now)
        self.adopt(report.options, now)
        self.missed(run, report, now)

    def _job_paused(self, run: Run, report: Report, now: datetime) -> None:
        """The worker began nothing, as the whole job is paused: look again, later each time."""
        self.pause("job", now, report.job_pause or None)
        paused_for = now - (self.life.paused_at or now)
        wait = min(max(paused_for, SHORTEST_RECHECK), LONGEST_RECHECK)
        run.put_off(report.model_copy(update={"retry_in": wait.total_seconds(), "snoozed": True}))

    def _job_resumed(self, now: datetime) -> None:
        """An attempt was begun: the job is not paused any more."""
        if self.life.paused == "job":
            self.life.resume(now)
            self._tell_pause("job.resumed", "job", now, None)

    def _fault_of(self, run: Run, result: RunResult) -> str | None:
        try:
            self.check_result(run, result)
        except ValueError as error:
            return str(error)
        return None

    @abstractmethod
    def check_result(self, run: Run, result: RunResult) -> None:
        """Raise `ValueError` where what history holds is not what this run can give back."""

    def _give_up_run(self, now: datetime) -> None:
        # Where none is under way either, one may have failed whose handler was still to hear of it.
        self.run = None
        self.given_up(now)

    def _lost(self, run: Run, lost: Lost, now: datetime) -> None:
        try:
            told = Heartbeat.model_validate(lost.heartbeat or {})
        except ValueError:
            told = Heartbeat()
        run.first_started_at = told.first_started_at or run.first_started_at
        chance = self.tools.chance()
        report = run.lost(lost.message, lost.error, self.rules, now, chance)
        known = {"checkpoint": told.checkpoint, "progress": told.progress}
        report = report.model_copy(update=known)
        self.burst_lost(run)
        self.missed(run, report, now)

    def burst_lost(self, run: Run) -> None:  # noqa: B027 - few need it
        """The attempt's activity may have begun more than its first event."""

    def missed(self, run: Run, report: Report, now: datetime) -> None:
        """An attempt did not succeed: wait for the next one, or the run has failed for good."""
        if not report.snoozed:
            self.emit_failed(run, report)
        if report.will_retry:
            run.put_off(report)
            return
        self.run = None
        kept = report.checkpoint or run.checkpoint
        if kept is not None and self.rules.keep_checkpoint:
            self.keep_state(kept.state, kept.state_version)
        if report.exhausted is not None and self.rules.retry.max_attempts != 1:
            fields = {"attempts": report.attempt, "reason": report.exhausted}
            self.outbox.emit("job.retryExhausted", report.at, fields)
        self.exhausted(run, report, now)

    def missed_after(self, run: Run, report: Report, now: datetime) -> None:
        """An attempt that the activity began behind its first run did not succeed."""
        self.run = run
        self.missed(run, report, now)

    @abstractmethod
    def succeeded(self, run: Run, done: Succeeded, now: datetime) -> None:
        """A run succeeded."""

    @abstractmethod
    def exhausted(self, run: Run, report: Report, now: datetime) -> None:
        """A run failed for good: do as `on_exhausted` says."""

    def given_up(self, now: datetime) -> None:  # noqa: B027 - few need it
        """What was being done is given up: the life ends, or the run's handler has gone."""

    def executed(self, run: Run, done: Executed | None, *, ran: bool) -> None:
        """Count a successful run and tell of it; one with nothing to call is none."""
        self.life.last_error = None
        if not ran:
            # Of one that was lost before, an attempt was told: its number is taken.
            self.life.run_count -= run.attempt == 1
            return
        if done is None:
            return
        fields: Detail = {
            "runCount": run.count,
            "durationMs": done.duration_ms,
            "attempt": done.attempt,
            "handler": run.handler,
        }
        if done.has_pre_state:
            fields["preExecutionState"] = done.pre_state
        self.outbox.emit("job.executed", done.at, fields, done.event_id)

    def emit_failed(self, run: Run, report: Report) -> None:
        """Tell of a failed attempt."""
        self.life.last_error = report.message
        error = {"message": report.message}
        if report.stack is not None:
            error["stack"] = report.stack
        fields: Detail = {
            "error": error,
            "runCount": run.count,
            "attempt": report.attempt,
            "willRetry": report.will_retry,
        }
        if report.has_pre_state:
            fields["preExecutionState"] = report.pre_state
        self.outbox.emit("job.failed", report.at, fields, report.event_id)

    def emit(self, kind: str, at: datetime, **fields: JSON) -> None:
        """Add a tracking event to the outbox."""
        self.outbox.emit(kind, at, fields)

    def keep_state(self, state: JSON, version: int) -> None:
        """Take over the state that a run left."""
        self.life.state, self.life.has_state, self.life.state_version = state, True, version

    # -- the end

    @property
    def over(self) -> bool:
        """Whether the life has ended."""
        return self.ending.status is not None

    @property
    def closing(self) -> bool:
        """Whether the life is to end: what comes now belongs to the next one."""
        return self.ending.asked or self.over

    def _end_as_asked(self, now: datetime) -> None:
        if self.options is None:
            # Nothing ran and nothing is told: no worker said whether events are tracked.
            self.ending.status = "terminated"
        else:
            self.end("terminated", now)

    def end(self, status: Ended, now: datetime, reason: str | None = None) -> None:
        """End the life and say so."""
        self.ending.status = status
        self.ending.reason = reason or self.ending.reason
        self.before_end()
        self.emit(
            "job.terminated",
            self.ending.at or now,
            reason=self.ending.reason,
            runCount=self.life.run_count,
            discardedEvents=self.ending.discarded,
            ended="exhausted" if self.ending.exhausted else status,
        )

    def before_end(self) -> None:
        """Count what the end leaves undone. A life that ends before it could begin is told too."""
        if not self.life.begun:
            self.begin_life()

    def complete(self, reason: str, now: datetime) -> Step:
        """End the life as its definition plans."""
        self.ending.asked = self.ending.planned = True
        self.end("completed", now, reason)
        return Finish()

    def end_if_asked(self, result: RunResult, now: datetime) -> None:
        """End the life where its run asked for it; what waits opens a fresh one."""
        if result.terminate:
            at = result.executed.at if result.executed else now
            self.ending.asked, self.ending.reason = True, result.terminate_reason
            self.ending.at = at

    def fail(self, report: Report, now: datetime) -> None:
        """End the life as failed: `on_exhausted = "terminate"`."""
        self.ending.exhausted, self.ending.at = True, report.at
        self.end("failed", now, f"Retry exhausted after {report.attempt} attempts")

    @property
    def more_waits(self) -> bool:
        """Whether events wait that open a fresh life."""
        return False

    def reopen(self, now: datetime) -> None:
        """Go on with what came while the life ended: with the same life where it was only idle."""
        if self.ending.status == "completed" and not self.ending.planned:
            self.ending = Ending()
        else:
            self.begin_anew(now)

    def begin_anew(self, now: datetime) -> None:
        """Begin a fresh life."""
        self.life, self.ending, self.run = Life(started_at=now), Ending(), None

    def result(self) -> Detail:
        """The workflow's result."""
        return {
            "status": self.ending.status or "completed",
            "reason": self.ending.reason,
            "runCount": self.life.run_count,
            "discardedEvents": self.ending.discarded,
        }

    # -- what travels

    def snapshot(self) -> Snapshot:
        """What travels with continue-as-new."""
        return Snapshot(
            life=self.life,
            run=self.run,
            options=self.options,
            confirmed=self.confirmed,
            waiting=self.waiting_events(),
            discarded=self.ending.discarded,
            extra=self.extra(),
        )

    @abstractmethod
    def extra(self) -> Detail:
        """What only this job type carries."""

    @abstractmethod
    def restore(self, extra: Detail) -> None:
        """Go on from `extra`; from nothing in a new instance."""

    @property
    def fits(self) -> bool:
        """Whether what waits is small enough to travel, as far as can be told at no cost."""
        return True

    @property
    def full(self) -> bool:
        """Whether so many events wait that more had better wait unread."""
        return False

    # -- answers

    def status_word(self) -> str:
        """The one word that says what the instance does."""
        if self.ending.status is not None:
            return self.ending.status
        if self.ending.asked:
            return "terminating"
        if self.running:
            return "running"
        stuck = self._search.needed or self._is_held or self.life.paused == "job"
        if self.run is not None and not stuck:
            return "retrying"
        return "paused" if self.life.paused else self.waiting_word()

    @abstractmethod
    def waiting_word(self) -> str:
        """The status of an instance that runs nothing."""

    def status(self) -> Detail:
        """The answer to the query `status`."""
        run = self.run
        again = run.retry_at if run is not None else None
        return {
            "jobType": self.ref.job_type,
            "jobName": self.ref.job,
            "key": self.ref.key,
            "instanceId": self.ref.instance_id,
            "status": self.status_word(),
            "attempt": run.attempt if run else 0,
            "eventCount": 0,
            "nextRunAt": again.isoformat() if again else None,
            "willFlushAt": None,
            "reason": self.ending.reason if self.over else None,
            "progress": run.progress if run else None,
            **self.life.status(),
            "tracking": self.outbox.status(),
        }

    def waiting_events(self) -> int:
        """Events that were accepted, have not run, and are not counted as discarded."""
        return 0

    @property
    def has_set_aside(self) -> bool:
        """Whether failed events are set aside for `redrive`."""
        return False

    def state_answer(self) -> Detail:
        """What the query `state` folds its answer from."""
        return {
            "state": self.life.state,
            "has_state": self.life.has_state,
            "state_version": self.life.state_version,
            "events": [],
        }

    def story(self) -> str:
        """What the instance does, in a few words; its status stands before them."""
        run, word = self.run, self.status_word()
        if run is None or self.over:
            noted = word == "paused" and self.life.pause_note
            return f"{word} ({self.life.pause_note})" if noted else word
        again = f", again at {iso_ms(run.retry_at)}" if run.retry_at else ""
        return f"{run.handler}, run {run.count}, attempt {run.attempt}{again}"
