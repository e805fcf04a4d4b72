"""A worker for a `Simulation`: its handlers do as a script says, and it reports as real ones do."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from durable_jobs.activities.failures import decide, message_of, type_of
from durable_jobs.definitions import Job
from durable_jobs.definitions.debounce import as_debounce
from durable_jobs.errors import NonRetryable, RetryAfter, Snooze
from durable_jobs.protocol import Checkpoint, Detail, Executed, Options, Report, RunRequest
from durable_jobs.protocol import RunResult as Result
from durable_jobs.tracking.ids import uuid7_at
from durable_jobs.values import JSON, dumps
from durable_jobs.workflows.machines.run import (
    CutOff,
    Failed,
    Lost,
    NoHandler,
    Outcome,
    Succeeded,
)
from tests.support.simulation import Ends

Script = Callable[[RunRequest], str]
"""What becomes of a run: one of the words below."""

OK, END, REFUSE = "ok", "end", "refuse"
FAIL, FINAL, LATER, SNOOZE = "fail", "final", "later", "snooze"
LOST, CUT, GONE, HOLD, STOP = "lost", "cut", "gone", "hold", "stop"
JOB_PAUSED, JOB_PAUSE_NOTE = "job paused", "ada: deploy"
"""`stop` ends a burst before an event, `cut` in the middle of one."""

LATER_IN = timedelta(seconds=30)
SNOOZED_FOR = timedelta(seconds=40)
_ERRORS: dict[str, Callable[[], BaseException]] = {
    FAIL: lambda: ValueError("no"),
    FINAL: lambda: NonRetryable("never"),
    LATER: lambda: RetryAfter(LATER_IN),
    SNOOZE: lambda: Snooze(SNOOZED_FOR),
}


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt that reached a handler."""

    handler: str
    key: str
    attempt: int
    run_count: int
    at: datetime
    word: str
    value: JSON = None
    """The event of the run, or the folded state of a flush."""


@dataclass
class ScriptedWorker:
    """Makes attempts as a script says; remembers each that reached a handler."""

    job: Job
    script: Script = lambda request: OK
    takes: timedelta = timedelta()
    checkpoint_at: JSON = None
    """A state that failing attempts reach, as a checkpoint."""

    detail: Callable[[RunRequest], Detail] = lambda request: {}
    """What a run that succeeds says beside its reply."""

    ran: list[Ran] = field(default_factory=list[Ran])

    @property
    def options(self) -> Options:
        """The definition's options."""
        return self.job.options()

    def __call__(self, request: RunRequest, now: datetime) -> Ends:
        """Make an attempt."""
        outcome = self.outcome(request, self.script(request), now + self.takes)
        return Ends(outcome, self.takes)

    def outcome(self, request: RunRequest, word: str, now: datetime) -> Outcome | None:
        """What history says of an attempt that goes as a word says, and of its burst."""
        noted = len(self.ran)
        # The first event of an activity is always begun; only an event can be refused.
        means_ok = word == STOP or (word == REFUSE and "event" not in request.detail)
        found = self._outcome(request, OK if means_ok else word, now)
        if isinstance(found, Lost):
            # Nobody ever hears of what went well before it.
            self.ran[noted:] = [replace(run, word=LOST) for run in self.ran[noted:]]
        return None if found is None else _through_json(found)

    def _outcome(self, request: RunRequest, word: str, now: datetime) -> Outcome | None:
        plain: dict[str, Outcome] = {
            CUT: CutOff(),
            GONE: NoHandler("no such handler"),
            JOB_PAUSED: Failed(
                Report(
                    attempt=request.attempt,
                    event_id="",
                    at=now,
                    message="",
                    job_pause=JOB_PAUSE_NOTE,
                )
            ),
            LOST: Lost(heartbeat=self._heartbeat(request, now)),
        }
        if word == HOLD:
            return None
        if word in plain:
            if word not in (GONE, JOB_PAUSED):
                self._note(request, now, word)
            return plain[word]
        first = self._perform(request, word, now)
        if isinstance(first, Report):
            return Failed(first)
        return self._burst(request, first, now)

    def _heartbeat(self, request: RunRequest, now: datetime) -> Detail | None:
        if self.checkpoint_at is None:
            return None
        return {
            "first_started_at": (request.first_started_at or now).isoformat(),
            "checkpoint": self._checkpoint(request).model_dump(mode="json"),
            "progress": None,
        }

    def _checkpoint(self, request: RunRequest) -> Checkpoint:
        return Checkpoint(
            state=self.checkpoint_at, state_version=1, run_key=request.idempotency_key
        )

    def _burst(self, first_request: RunRequest, first: Result, now: datetime) -> Outcome:
        results, request = [first], first_request
        end: Detail = {}
        while not results[-1].terminate:
            following = self.job.following(first_request, request, results[-1], len(results))
            if following is None:
                break
            request = following
            word = self.script(request)
            if word in (STOP, HOLD, GONE, JOB_PAUSED):
                break
            if word == CUT:
                self._note(request, now, word)
                end = {"cut_off": True}
                break
            if word == LOST:
                self._note(request, now, word)
                return Lost()
            found = self._perform(request, word, now)
            if isinstance(found, Report):
                end = {"failed": found}
                break
            results.append(found)
        newest = max((n for n, result in enumerate(results) if result.ran), default=0)
        kept = [
            result if n >= newest else result.model_copy(update={"state": None})
            for n, result in enumerate(results)
        ]
        return Succeeded(kept[0].model_copy(update={"after": kept[1:], **end}))

    def _perform(self, request: RunRequest, word: str, now: datetime) -> Result | Report:
        if as_debounce(self.job) is not None:
            return self._flush(request, word, now)
        if word in _ERRORS:
            self._note(request, now, word)
            return self.report(request, _ERRORS[word](), now)
        if word == REFUSE:
            self._note(request, now, word)
            return Result(ran=False, detail={"rejected": "it does not fit"})
        self._note(request, now, word)
        detail = dict(self.detail(request))
        if request.handler == "on_event":
            detail.setdefault("reply", f"reply to {request.detail['event']}")
        before = request.checkpoint.state if request.checkpoint else request.state
        # The state counts runs.
        state = before + 1 if isinstance(before, int) else 1
        return self._succeeded(request, word, now, state, detail)

    def _flush(self, request: RunRequest, word: str, now: datetime) -> Result | Report:
        debounce = as_debounce(self.job)
        assert debounce is not None
        detail = request.detail
        folded = debounce.fold(
            detail["events"], request.state, request.has_state, request.state_version
        )
        judged: Detail = {
            "rejected": [item.model_dump() for item in folded.rejected],
            "count": detail["folded"] + len(detail["events"]) - len(folded.rejected),
        }
        if not folded.has_state:
            return Result(ran=False, detail=judged)
        self._note(request, now, word, folded.state)
        if word in _ERRORS:
            return self.report(request, _ERRORS[word](), now)
        return self._succeeded(request, word, now, folded.state, judged)

    def _succeeded(
        self, request: RunRequest, word: str, now: datetime, state: JSON, detail: Detail
    ) -> Result:
        made = uuid7_at(now, f"{request.idempotency_key}:{request.attempt}:job.executed")
        return Result(
            state=state,
            terminate=word == END,
            terminate_reason="done" if word == END else None,
            detail=detail,
            executed=Executed(event_id=made, at=now, duration_ms=0, attempt=request.attempt),
        )

    def report(self, request: RunRequest, error: BaseException, now: datetime) -> Report:
        """A failed attempt, as it reports itself."""
        first = request.first_started_at or now - self.takes
        made = uuid7_at(now, f"{request.idempotency_key}:{request.attempt}:job.failed")
        reached: dict[str, Any] = {
            "attempt": request.attempt,
            "event_id": made,
            "at": now,
            "type": type_of(error),
            "first_started_at": first,
            "checkpoint": self._checkpoint(request) if self.checkpoint_at is not None else None,
        }
        if isinstance(error, Snooze):
            wait = error.delay(now).total_seconds()
            return Report(**reached, message="", retry_in=wait, snoozed=True)
        decided = decide(error, request, self.options, first, now)
        wait = decided.retry_in
        return Report(
            **reached,
            message=message_of(error),
            retry_in=None if wait is None else wait.total_seconds(),
            exhausted=decided.exhausted,
        )

    def _note(self, request: RunRequest, now: datetime, word: str, value: JSON = None) -> None:
        self.ran.append(
            Ran(
                request.handler,
                request.idempotency_key,
                request.attempt,
                request.run_count,
                now,
                word,
                request.detail.get("event") if value is None else value,
            )
        )

    @property
    def succeeded(self) -> list[JSON]:
        """The events of all runs that succeeded, in order."""
        for_events = (run for run in self.ran if run.handler in ("on_event", "execute"))
        return [run.value for run in for_events if run.word in (OK, END)]


def _through_json(outcome: Outcome) -> Outcome:
    """As history would give it back."""
    match outcome:
        case Succeeded(result):
            return Succeeded(Result.model_validate_json(dumps(result)))
        case Failed(report):
            return Failed(Report.model_validate_json(dumps(report)))
        case _:
            return outcome
