"""Drives one machine in memory: the loop of `workflows/driver.py` without Temporal or a clock.

A simulation has a virtual clock. Attempts go to a worker, a plain function that says how each of
them ends and how long it takes. What a machine asks is answered from the job's own definition. At
any moment the instance can continue as new: its snapshot then goes through JSON and back.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from durable_jobs.cron import CronTimes
from durable_jobs.definitions import Job
from durable_jobs.definitions.debounce import as_debounce
from durable_jobs.kinds import KINDS, JobKind
from durable_jobs.names import DESCRIBE, FIND_JOB, FOLD, NEXT_DUE
from durable_jobs.protocol import (
    Detail,
    FlushResult,
    JobRef,
    Options,
    RunRequest,
    TrackingIdentity,
)
from durable_jobs.questions import FoldRequest, NextDueRequest
from durable_jobs.registry import Registry
from durable_jobs.spans import LONGEST, later
from durable_jobs.ticks import find_next
from durable_jobs.tracking.outbox import Outbox, OutboxCarry
from durable_jobs.values import JSON, dumps
from durable_jobs.workflows.machines.continuous import ContinuousMachine
from durable_jobs.workflows.machines.debounce import DebounceMachine
from durable_jobs.workflows.machines.machine import Machine, Snapshot, Tools
from durable_jobs.workflows.machines.messages import BadInput, Message, Refused
from durable_jobs.workflows.machines.run import CutOff, Outcome
from durable_jobs.workflows.machines.steps import Attempt, Call, Cancel, Finish, Wait
from durable_jobs.workflows.machines.task import TaskMachine
from durable_jobs.workflows.machines.texts import EventText
from durable_jobs.workflows.machines.worker_pool import WorkerPoolMachine

START = datetime(2026, 5, 4, 9, tzinfo=UTC)
MOST_TURNS = 100_000
"""A machine that wants so many turns at one moment would never let go of its thread."""

MACHINES: dict[str, type[Machine]] = {
    machine.job_type: machine
    for machine in (ContinuousMachine, DebounceMachine, TaskMachine, WorkerPoolMachine)
}


@dataclass(frozen=True, slots=True)
class Ends:
    """How an attempt ends, and after what time. One without an outcome goes on until `finish`."""

    outcome: Outcome | None
    after: timedelta = timedelta()


Worker = Callable[[RunRequest, datetime], Ends]
"""Takes an attempt at a time."""


@dataclass(slots=True)
class Posted:
    """A message that waits, and what came of it."""

    message: Message
    done: bool = False
    answer: JSON = None
    error: BadInput | Refused | None = None


@dataclass(slots=True)
class _Due:
    """Something under way that ends at a time; at none while that is open."""

    at: datetime | None
    result: Any = None


@dataclass
class Lives:
    """The lives of the instance that are over."""

    endings: list[Detail] = field(default_factory=list[Detail])
    discarded: int = 0
    rejected: int = 0
    run_count: int = 0


class Simulation:
    """One instance of a job, from its start to its end."""

    def __init__(
        self,
        job: Job,
        key: str = "k",
        *,
        worker: Worker | None = None,
        start: datetime = START,
        options: Options | None = None,
        state: JSON = None,
        tracked: bool = True,
        seed: int = 0,
    ) -> None:
        self.job = job
        self.kind: JobKind = KINDS[job.job_type]
        self.worker: Worker = worker or (lambda request, now: Ends(None))
        self.random = random.Random(seed)
        self.now = start
        self.registry = Registry([job], TrackingIdentity(env="test") if tracked else None)
        self.asks_answered: bool = True
        """Whether a worker answers what the machine asks."""

        self.letters_first: bool = False
        """Whether messages are taken up before outcomes that came with them."""

        self.slice: int | None = None
        """How many messages are taken up before the server gets a turn; None: all."""

        self.attempts: list[RunRequest] = []
        self.keys: dict[str, list[int]] = {}
        self.steps = 0
        self.carried = 0
        self.tracked: list[Detail] = []
        """The tracking events, numbered, as they were settled."""

        self.numbered: dict[int, Detail] = {}
        self.lives = Lives()
        self.finished = False
        self.warnings: list[str] = []
        self.executions: list[list[Detail]] = []
        """The tracking events of workflows that have ended."""

        self._letters: deque[Posted] = deque()
        self._attempt: _Due | None = None
        self.call: tuple[Call, _Due] | None = None
        """What a worker is asked, and its answer."""

        self.timer: datetime | None = None
        self.ref = JobRef(job_type=job.job_type, job=job.name, key=key)
        self.outbox = Outbox(self.ref, self.ref.instance_id, OutboxCarry(execution_id="run-1"))
        self.machine = self._machine(None)
        if state is not None:
            self.machine.keep_state(state, 1)
        if options is not None:
            self.machine.suggest(options)

    def _machine(self, kept: Snapshot | None) -> Machine:
        tools = Tools(self._mint, self.random.random, self.warnings.append)
        return MACHINES[self.job.job_type](self.ref, self.now, self.outbox, tools, kept)

    def _mint(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    # -- what callers do

    def post(self, verb: str, *events: JSON | EventText | BadInput, **given: Any) -> Posted:
        """Put a message into the mailbox."""
        if self.finished and verb in self.kind.brings:
            self.start_again()
        found = [each if _is_event(each) else EventText.of(each) for each in events]
        posted = Posted(Message(verb, self.now, found, **given))
        if verb in ("pause", "resume"):
            self._letters.appendleft(posted)
        else:
            self._letters.append(posted)
        return posted

    def start_again(self) -> None:
        """Start another workflow after one has ended; a message that brings events does as well."""
        self.settle_tracking()
        self.executions.append(self.tracked)
        self.tracked, self.numbered, self.finished = [], {}, False
        execution = OutboxCarry(execution_id=f"run-{len(self.executions) + 1}")
        self.outbox = Outbox(self.ref, self.ref.instance_id, execution)
        self.machine, self.timer = self._machine(None), None

    def send(self, verb: str, *events: JSON | EventText | BadInput, **given: Any) -> JSON:
        """Send a message, and go on until the machine waits."""
        posted = self.post(verb, *events, **given)
        self.settle()
        if posted.error is not None:
            raise posted.error
        return posted.answer

    @property
    def status(self) -> Detail:
        """What the query `status` answers."""
        return self.machine.status()

    # -- what workers do

    def finish(self, outcome: Outcome) -> None:
        """End the attempt under way, and go on until the machine waits."""
        self.end_attempt(outcome)
        self.settle()

    def end_attempt(self, outcome: Outcome) -> None:
        """End the attempt under way; the machine hears of it with its next turn."""
        assert self._attempt is not None, "no attempt is under way"
        self._attempt = _Due(self.now, outcome)

    @property
    def under_way(self) -> bool:
        """Whether an attempt is under way and nothing ends it but `finish`."""
        return self._attempt is not None and self._attempt.at is None

    # -- the loop

    def advance(self, span: timedelta) -> None:
        """Let time pass, and do what falls due in it."""
        self.until(self.now + span)

    def until(self, end: datetime) -> None:
        """Go on to a time."""
        self.settle()
        while (due := self._next_due()) is not None and due <= end and not self.finished:
            self.now = max(due, self.now)
            self.settle()
        self.now = max(self.now, end)
        self.settle()

    def next_event(self) -> bool:
        """Go on to the next time at which something is due; False where nothing is."""
        due = self._next_due()
        if due is None or self.finished:
            return False
        self.now = max(due, self.now)
        self.settle()
        return True

    def _next_due(self) -> datetime | None:
        call = self.call[1].at if self.call else None
        attempt = self._attempt.at if self._attempt else None
        return min(filter(None, (self.timer, call, attempt)), default=None)

    def settle(self) -> None:
        """Do turns until the machine waits for something."""
        for _ in range(MOST_TURNS):
            if not self.turn():
                return
        raise AssertionError(f"the machine never waits: {self.machine.story()}")

    def turn(self) -> bool:
        """One turn of the loop. Returns whether another follows at once."""
        if self.finished:
            return False
        self.take()
        if self._has_letters():
            # As in the driver, between two slices of a long mailbox.
            beside = self.machine.beside(self.now) if self.call is None else None
            if beside is not None:
                self._ask(beside)
            return True
        return self._do()

    def take(self) -> None:
        """The first half of a turn: take up what has come, before the machine's next step."""
        self.steps += 1
        if self.letters_first:
            self._take_letters()
        self._take_results()
        self._take_letters()

    def _take_results(self) -> None:
        if self._attempt is not None and self._has_come(self._attempt):
            outcome, self._attempt = self._attempt.result, None
            self.machine.outcome(outcome, self.now)
        if self.call is not None and self._has_come(self.call[1]):
            (call, due), self.call = self.call, None
            if isinstance(due.result, str):
                self.machine.call_failed(call.name, due.result)
            else:
                self.machine.answered(call.name, due.result, self.now)
        if self.timer is not None and self.timer <= self.now:
            self.timer = None

    def _has_come(self, due: _Due) -> bool:
        return due.at is not None and due.at <= self.now

    def _has_letters(self) -> bool:
        return bool(self._letters) and (self.machine.over or not self.machine.closing)

    def _take_letters(self) -> None:
        left = self.slice or len(self._letters)
        while self._letters and left > 0:
            left -= 1
            machine = self.machine
            if machine.over and machine.more_waits:
                self._reopen()
            if machine.closing and not machine.over:
                return
            self._open(self._letters.popleft())

    def _open(self, posted: Posted) -> None:
        posted.done = True
        message = posted.message
        if self.machine.over:
            if message.verb not in self.kind.brings:
                posted.answer = {"status": self.machine.status_word()}
                return
            self._reopen()
        try:
            posted.answer = self.machine.receive(message)
        except (BadInput, Refused) as error:
            posted.error = error

    def _reopen(self) -> None:
        self._note_end()
        self.machine.reopen(self.now)

    def _note_end(self) -> None:
        machine = self.machine
        goes_on = machine.ending.status == "completed" and not machine.ending.planned
        self.lives.discarded += machine.ending.discarded
        self.lives.endings.append(machine.result())
        if not goes_on or self.finished:
            self.lives.rejected += machine.life.rejected
            self.lives.run_count += machine.life.run_count

    def _do(self) -> bool:
        step = self.machine.next(self.now)
        match step:
            case Attempt():
                self._begin()
            case Call():
                self._ask(step)
            case Cancel():
                return self._cancel()
            case Wait(until):
                return self._wait(until)
            case Finish():
                return self._finish()
        return True

    def _ask(self, call: Call) -> None:
        # As in the driver, one that is asked later takes the place of one under way.
        self.call = call, _Due(None)
        if self.asks_answered:
            self.answer()

    def _begin(self) -> None:
        request = RunRequest.model_validate_json(dumps(self.machine.request()))
        self.attempts.append(request)
        assert request.handler
        assert self.machine.summary() is not None
        ends = self.worker(request, self.now)
        at = None if ends.outcome is None else self.now + ends.after
        self._attempt = _Due(at, ends.outcome)

    def _cancel(self) -> bool:
        if self._attempt is not None and self._has_come(self._attempt):
            return True
        self._attempt = None
        self.machine.outcome(CutOff(), self.now)
        return True

    def _wait(self, until: datetime | None) -> bool:
        # As the driver's timer: no server takes one that is much longer.
        self.timer = until and min(max(until, self.now), later(self.now, LONGEST.total_seconds()))
        return bool(
            self._has_letters()
            or (self._attempt is not None and self._has_come(self._attempt))
            or (self.call is not None and self._has_come(self.call[1]))
            or (until is not None and until <= self.now)
        )

    def _finish(self) -> bool:
        if self.machine.more_waits:
            self._reopen()
            return True
        self.call = None
        if self._letters:
            return True
        self.finished = True
        self._note_end()
        self.settle_tracking()
        return False

    # -- what a worker answers

    def answer(self, result: BaseModel | str | None = None) -> None:
        """Answer what the machine asked, by the definition where nothing else is given."""
        assert self.call is not None
        call = self.call[0]
        given = result if result is not None else self.answer_of(call)
        if isinstance(given, BaseModel):
            given = call.answer.model_validate_json(dumps(given))
        self.call = call, _Due(self.now, given)

    @property
    def asked(self) -> str | None:
        """The name of what a worker is asked at the moment."""
        return self.call[0].name if self.call else None

    def answer_of(self, call: Call) -> BaseModel | str:
        """What the definition answers."""
        # What travels is JSON.
        request = type(call.request).model_validate_json(dumps(call.request))
        match call.name, request:
            case (name, JobRef()) if name in (DESCRIBE, FIND_JOB):
                return self.registry.describe(request)
            case (name, FoldRequest()) if name == FOLD:
                return self._fold(request)
            case (name, NextDueRequest()) if name == NEXT_DUE:
                return find_next(CronTimes(request.rule), request)
            case _:
                raise AssertionError(f"nobody answers {call.name}")

    def _fold(self, request: FoldRequest) -> BaseModel | str:
        debounce = as_debounce(self.job)
        assert debounce is not None
        return debounce.fold(
            request.events, request.state, request.has_state, request.state_version
        )

    def deploy(self, job: Job, *, tracked: bool = True) -> None:
        """Have workers with another definition of the job from now on."""
        self.job = job
        self.registry = Registry([job], TrackingIdentity(env="test") if tracked else None)

    @property
    def options(self) -> Options:
        """The options as a worker has them."""
        return self.registry.options(self.job.name)

    # -- continue-as-new

    def carry(self) -> bool:
        """Continue as new now, where the driver could. Returns whether it did."""
        machine = self.machine
        machine.carry_due = True
        if not (machine.at_rest and self.call is None and machine.fits and not self.finished):
            return False
        snapshot = dumps(machine.snapshot())
        outbox = dumps(self.outbox.carry())
        self.outbox = Outbox(
            self.ref, self.ref.instance_id, OutboxCarry.model_validate_json(outbox)
        )
        self.machine = self._machine(Snapshot.model_validate_json(snapshot))
        again = dumps(self.machine.snapshot())
        assert again == snapshot, "what travelled is not what came"
        self.carried += 1
        self.timer = None
        return True

    # -- tracking

    def take_tracking(self) -> list[Detail]:
        """Begin a flush; checks that events that were taken before are the same to the byte."""
        taken = self.outbox.take()
        for event in taken:
            # Until a worker has said where events come from, the one that delivers them does.
            told = {k: v for k, v in event.items() if k not in ("env", "serviceKey")}
            known = self.numbered.setdefault(event["sequence"], told)
            assert dumps(known) == dumps(told), "an event changed between two flushes"
        return taken

    def settle_tracking(self, *, lost: bool = False) -> None:
        """Flush all events; `lost` says that the flush came to nothing."""
        while self.outbox.pending:
            taken = self.take_tracking()
            if lost:
                self.outbox.release()
                return
            done = FlushResult(execution_id=self.outbox.execution_id, delivered=len(taken))
            self.outbox.settle(done)
            self.tracked.extend(taken)

    def told(self, kind: str | None = None) -> list[Detail]:
        """The tracking events of this workflow, or those of a type; checks that none has a gap."""
        self.settle_tracking()
        for events in (*self.executions, self.tracked):
            numbers = [event["sequence"] for event in events]
            assert numbers == list(range(1, len(numbers) + 1))
            assert len({event["eventId"] for event in events}) == len(numbers)
        return [event for event in self.tracked if kind in (None, event["type"])]

    def types(self) -> list[str]:
        """The types of all tracking events so far."""
        return [event["type"] for event in self.told()]

    # -- accounts

    @property
    def discarded(self) -> int:
        """Events that were discarded, in all lives."""
        return self.lives.discarded + (0 if self.finished else self.machine.ending.discarded)

    @property
    def rejected(self) -> int:
        """Events that were rejected, in all lives."""
        return self.lives.rejected + (0 if self.finished else self.machine.life.rejected)

    @property
    def run_count(self) -> int:
        """Runs of all lives."""
        return self.lives.run_count + (0 if self.finished else self.machine.life.run_count)


def _is_event(value: object) -> bool:
    return isinstance(value, EventText | BadInput)


def events_of(numbers: Sequence[int]) -> list[EventText]:
    """Events that are their number."""
    return [EventText.of(number) for number in numbers]
