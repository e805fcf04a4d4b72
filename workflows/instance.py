"""One instance: what it is, how far it got, what it says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.common import MetricCounter

from durable_jobs.protocol import Detail, JobRef, JobType, Leftover, Options
from durable_jobs.tracking.metrics import EMITTED, EMITTED_MEANS
from durable_jobs.tracking.outbox import Outbox, OutboxCarry
from durable_jobs.wire import JSON

from .inputs import BadInput, job_ref, read_start
from .resets import seed_at_start
from .runs import Run

MAX_HISTORY_EVENTS = 4_000
MOST_HISTORY_EVENTS = 8_000
"""With so many, and no way to continue as new, a run makes attempts only when told to."""

MOST_HISTORY_BYTES = 16 * 1024 * 1024
"""From here or there on an attempt makes way; what comes until it has takes room as well."""

LAST_HISTORY_EVENTS = 35_000
LAST_HISTORY_BYTES = 35 * 1024 * 1024
"""The server ends a workflow at 51,200 events or 50 MB, with all that waits in it."""

KEPT_REJECTIONS = 20
_MOST_UNTOLD = 20
CARRIED_BYTES = 1536 * 1024
"""The most that continue-as-new carries together with a run; 2 MB wedge it."""


_known_options: dict[str, Options] = {}
_MOST_KNOWN = 1_000


def _shared(options: Options) -> Options:
    """The one copy that all instances of a job keep in this process: 6 KB each."""
    known = _known_options.get(options.digest)
    if known is not None and known == options:
        return known
    if len(_known_options) >= _MOST_KNOWN:
        _known_options.clear()
    _known_options[options.digest] = options
    return options


class Life(BaseModel):
    """What every instance carries from one run of its workflow to the next."""

    started_at: datetime
    run_count: int = 0
    paused: Literal["user", "exhausted"] | None = None
    """Who paused it: a caller, or a run that failed for good."""

    paused_at: datetime | None = None
    pause_note: str | None = None
    resumed_at: datetime | None = None
    resume_note: str | None = None
    untold: list[Detail] = Field(default_factory=list[Detail])
    """Pauses and their ends that no tracking event tells yet."""

    outside: bool = False
    """Whether events come in such number that attempts are made outside."""

    rejected: int = 0
    rejections: list[Detail] = Field(default_factory=list[Detail])
    last_error: str | None = None
    state: JSON = None
    has_state: bool = False
    state_version: int = 1

    def pause(
        self, by: Literal["user", "exhausted"], at: datetime, note: str | None = None
    ) -> None:
        """Note a pause. Of a paused one, only a new note is kept."""
        if self.paused is None:
            self.paused, self.paused_at, self.pause_note = by, at, note
            self._tell("job.paused", by, at, note)
        elif note is not None:
            self.pause_note = note

    def resume(
        self, at: datetime, note: str | None = None, by: Literal["user", "exhausted"] = "user"
    ) -> None:
        """Note the end of a pause; `exhausted` where it ended by itself."""
        if self.paused is not None:
            self.resumed_at, self.resume_note = at, note
            self._tell("job.resumed", by, at, note)
        self.paused = self.paused_at = self.pause_note = None

    def _tell(self, kind: str, by: str, at: datetime, note: str | None) -> None:
        # Of very many during one run the last ones do.
        kept = self.untold[-_MOST_UNTOLD:]
        self.untold = [*kept, {"kind": kind, "at": at.isoformat(), "by": by, "note": note}]

    def pause_status(self) -> Detail:
        """Since when, by whom and why it is paused, and how the last pause ended."""
        return {
            "pausedAt": self.paused_at.isoformat() if self.paused_at else None,
            "pausedBy": self.paused,
            "pauseNote": self.pause_note,
            "resumedAt": self.resumed_at.isoformat() if self.resumed_at else None,
            "resumeNote": self.resume_note,
        }


class Carry(BaseModel):
    """The input that only continue-as-new gives."""

    options: Options | None = None
    outbox: OutboxCarry
    life: Life | None = None
    """None: the last life ended, a fresh one begins."""

    run: Run | None = None
    """The run that is under way."""

    waiting: int = 0
    """Events that were accepted and have not run yet; for `reconcile`, which reads nothing else."""

    extra: Detail = Field(default_factory=dict)


class Ended(BaseModel):
    """How a life ended, as its workflow's result."""

    status: str
    reason: str | None = None
    runCount: int  # noqa: N815 - a name on the wire
    discardedEvents: int = 0  # noqa: N815


@dataclass
class Ending:
    """How a life comes to its end."""

    asked: bool = False
    """Whether a caller or a run asked for it."""

    reason: str | None = None
    at: datetime | None = None
    """When a run ended the life; None where a caller did."""

    discarded: int = 0
    """Events that were accepted and never ran."""

    counts_late: bool = False
    """Whether what is discarded may be another number if the workflow task is done again."""

    condemned: int = 0
    """Events that a caller's `terminate` dropped, until they are counted as discarded."""

    status: str | None = None
    """`completed`, `terminated` or `failed`, once the life is over."""

    planned: bool = False
    """Whether it completed as its definition says; nothing that comes meanwhile reopens it."""

    def count_condemned(self) -> None:
        """Count what a caller dropped as discarded."""
        self.discarded, self.condemned = (
            self.discarded + self.condemned,
            0,
        )


class Instance:
    """The data of an instance and how it is shown. Decides nothing."""

    job_type: ClassVar[JobType]

    def __init__(self, *args: Any) -> None:
        self.problem: str | None = None
        """What is wrong with the start argument, if anything is."""

        info = workflow.info()
        self.now: datetime = info.workflow_start_time
        """The time of the last signal, update, timer or activity.

        The time after a local activity is another on replay (SDK 1.35), so nothing may rest on it.
        """

        self.task: int = info.get_current_history_length()
        """The place in history of the workflow task in which that was."""

        self._first_task = self.task
        self.history_is_long: bool = False
        self.history_is_crowded: bool = False
        self.history_nears_its_end: bool = False
        self.history_is_full: bool = False
        try:
            continued = info.continued_run_id is not None
            start = read_start(args, self.job_type, info.workflow_id, continued=continued)
        except BadInput as error:
            self.problem = str(error)
            start = {"job": "?", "key": "?"}
        self.start: dict[str, JSON] = start
        self.ref: JobRef = job_ref(start, self.job_type)
        self.carried: Carry | None = (
            Carry.model_validate(start["carry"]) if "carry" in start else None
        )
        self.life: Life = self._first_life()
        self.outbox: Outbox = Outbox(self.ref, workflow.info().workflow_id, self._first_outbox())
        self.outbox.on_emit = self._count_emitted
        self._emitted: MetricCounter | None = None
        self.options: Options | None = None
        self.ending: Ending = Ending()
        self.adopt(self.carried.options if self.carried else None)
        # In the callback there is no workflow to ask, and the SDK would swallow the error.
        self._run_id = info.run_id
        workflow.register_random_seed_callback(self._on_reset)
        if (seed := seed_at_start()) is not None:
            workflow.random().seed(seed)
            self._on_reset(seed)

    def _first_life(self) -> Life:
        if self.carried is not None and self.carried.life is not None:
            return self.carried.life
        return Life(started_at=self.now)

    def reset_life(self) -> None:
        """Forget the life that ended."""
        self.life = Life(started_at=self.now)
        self.ending = Ending()

    def _first_outbox(self) -> OutboxCarry:
        if self.carried is not None:
            return self.carried.outbox
        return OutboxCarry(execution_id=workflow.info().first_execution_run_id)

    def _on_reset(self, seed: int) -> None:
        # A reset keeps the first run ID, but what follows it is another execution.
        self.outbox.restart(self._run_id, str(seed))

    def touch(self) -> None:
        """Note the time and the task; only right after one of those that set `now`.

        The first task has the time of the start, which is the same if the task is done again.
        """
        info = workflow.info()
        self.task = info.get_current_history_length()
        first = self.task == self._first_task
        self.now: datetime = info.workflow_start_time if first else workflow.now()
        size_ = info.get_current_history_size()
        self.history_is_long = info.is_continue_as_new_suggested() or self.task > MAX_HISTORY_EVENTS
        self.history_is_full = self.task > MOST_HISTORY_EVENTS
        self.history_is_crowded = self.history_is_full or size_ > MOST_HISTORY_BYTES
        self.history_nears_its_end = self.task > LAST_HISTORY_EVENTS or size_ > LAST_HISTORY_BYTES

    @property
    def terminating(self) -> bool:
        """Whether the life is to end, or has."""
        return self.ending.asked

    @property
    def ended(self) -> str | None:
        """`completed`, `terminated` or `failed`, once the life is over."""
        return self.ending.status

    def adopt(self, options: Options | None) -> None:
        """Take over options, as recorded in history."""
        if options is not None:
            self.options = options = _shared(options)
            self.outbox.identity = options.tracking

    @property
    def rules(self) -> Options:
        """The options, once known."""
        if self.options is None:
            raise RuntimeError("options are not known yet")
        return self.options

    async def wait(
        self, condition: Callable[[], bool], until: datetime | None = None, what: str = ""
    ) -> None:
        """Wait for a condition, or a time; `what` names the timer in the Temporal UI."""
        self.show()
        if until is None:
            await workflow.wait_condition(condition)
            return
        left = (until - workflow.now()).total_seconds()
        try:
            await workflow.wait_condition(
                condition, timeout=max(left, 0.001), timeout_summary=what or None
            )
        except TimeoutError:
            self.touch()

    def _count_emitted(self, kind: str) -> None:
        if self._emitted is None:
            # Records nothing during replay.
            counter = workflow.metric_meter().create_counter(EMITTED, EMITTED_MEANS)
            labels = {"job_type": self.ref.job_type, "job_name": self.ref.job}
            self._emitted = counter.with_additional_attributes(labels)
        self._emitted.add(1, {"event_type": kind})

    def emit(
        self, kind: str, at: datetime | None = None, *, settled: bool = False, **fields: JSON
    ) -> None:
        """Add an event of the workflow's own to the outbox.

        A `settled` one follows from what history holds: it is the same, with its sequence, if the
        workflow task has to be done again.
        """
        task = 0 if settled else self.task
        self.outbox.emit(kind, None, at or self.now, fields, task=task)

    def tell_pauses(self) -> None:
        """Say when it was paused, and went on.

        Only between runs: a signal may come before or after a run's outcome if the workflow task
        is done again, and the outcome's event, which may have left, must keep its number.
        """
        untold, self.life.untold = self.life.untold, []
        for told in untold:
            at = datetime.fromisoformat(told["at"])
            self.emit(told["kind"], at, by=told["by"], note=told["note"])

    def emit_terminated(self) -> None:
        """Say that the life ended, and what was dropped."""
        if self.ending.at is None:
            self.ending.count_condemned()
        self.emit(
            "job.terminated",
            self.ending.at,
            settled=self.ending.at is not None and not self.ending.counts_late,
            reason=self.ending.reason,
            runCount=self.life.run_count,
            discardedEvents=self.ending.discarded,
        )

    def result(self) -> Ended:
        """The workflow's result."""
        return Ended(
            status=self.ended or "completed",
            reason=self.ending.reason,
            runCount=self.life.run_count,
            discardedEvents=self.ending.discarded,
        )

    def reject(self, reason: str, event_id: str | None = None) -> None:
        """Count an event that was not taken, and keep why."""
        self.life.rejected += 1
        entry: Detail = {"at": self.now.isoformat(), "reason": reason[:500]}
        if event_id is not None:
            entry["id"] = event_id
        self.life.rejections = [*self.life.rejections, entry][-KEPT_REJECTIONS:]

    # -- answers

    def status_word(self) -> str:
        """The one word that says what the instance does."""
        if self.ended is not None:
            return self.ended
        if self.terminating:
            return "terminating"
        return "paused" if self.life.paused else self.waiting_word()

    def waiting_word(self) -> str:
        """The status of an instance that runs nothing."""
        return "idle"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        return {
            "jobType": self.job_type,
            "jobName": self.ref.job,
            "key": self.ref.key,
            "instanceId": workflow.info().workflow_id,
            "status": self.status_word(),
            "runCount": self.life.run_count,
            "attempt": 0,
            "eventCount": 0,
            "nextRunAt": None,
            "willFlushAt": None,
            "startedAt": self.life.started_at.isoformat(),
            "lastError": self.life.last_error,
            **self.life.pause_status(),
            "rejectedEvents": self.life.rejected,
            "rejections": self.life.rejections,
            "tracking": self.outbox.status(),
        }

    def leftover(self) -> Leftover:
        """What it would leave unsaid, were it ended from outside now."""
        return Leftover(
            outbox=self.outbox.carry().model_dump(mode="json"),
            tracking=self.outbox.identity,
            run_count=self.life.run_count,
            discarded=self.ending.discarded + self.waiting_events(),
            told=self.ended in ("terminated", "failed"),
        )

    def waiting_events(self) -> int:
        """Events that were accepted, have not run, and are in no count of discarded ones yet."""
        return self.status()["eventCount"] + self.ending.condemned

    def state_answer(self) -> Detail:
        """What the query `state` folds its answer from."""
        return {
            "state": self.life.state,
            "has_state": self.life.has_state,
            "state_version": self.life.state_version,
            "events": [],
        }

    def show(self) -> None:
        """Tell the Temporal UI what the instance does."""
        error = f"\n\nLast error: {self.life.last_error}" if self.life.last_error else ""
        word, story = self.status_word(), self.story()
        told = story if story.startswith(word) else f"{word}, {story}"
        workflow.set_current_details(f"**{self.ref.job}** for `{self.ref.key}`: {told}{error}")

    def story(self) -> str:
        """What the instance does, in a few words; `show` puts its status before them."""
        word = self.status_word()
        noted = word == "paused" and self.life.pause_note
        return f"{word} ({self.life.pause_note})" if noted else word
