"""Drives one machine in memory, step by step, with a worker that does as a test says.

A simulation has a virtual clock. Attempts go to a worker, a plain function that says how each of
them ends and how long it takes. What a machine asks is answered from the job's own definition. At
any moment the instance can continue as new: its snapshot then goes through JSON and back.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from durable_jobs.cron import CronTimes
from durable_jobs.definitions import Job
from durable_jobs.definitions.debounce import as_debounce
from durable_jobs.names import DESCRIBE, FIND_JOB, FOLD, NEXT_DUE
from durable_jobs.protocol import (
    DeliverResult,
    Detail,
    JobRef,
    Options,
    RunRequest,
    TrackingIdentity,
)
from durable_jobs.questions import FoldRequest, NextDueRequest
from durable_jobs.registry import Registry
from durable_jobs.testing.driver import MemoryDriver
from durable_jobs.ticks import find_next
from durable_jobs.tracking.outbox import Outbox, OutboxCarry
from durable_jobs.values import JSON, dumps
from durable_jobs.workflows.machines.machine import Machine, Snapshot, Tools
from durable_jobs.workflows.machines.messages import BadInput, Message
from durable_jobs.workflows.machines.run import CutOff, Outcome
from durable_jobs.workflows.machines.steps import Call
from durable_jobs.workflows.machines.texts import EventText
from durable_jobs.workflows.mailbox import Letter

START = datetime(2026, 5, 4, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ends:
    """How an attempt ends, and after what time. One without an outcome goes on until `finish`."""

    outcome: Outcome | None
    after: timedelta = timedelta()


Worker = Callable[[RunRequest, datetime], Ends]
"""Takes an attempt at a time."""


class Posted:
    """A message that waits, and what came of it."""

    def __init__(self) -> None:
        self.taken = False
        self.answer: JSON = None
        self.error: BaseException | None = None

    def done(self) -> bool:
        """See `mailbox.Answer`: nobody ever stops waiting."""
        return False

    def set_result(self, result: JSON) -> None:
        """See `mailbox.Answer`."""
        self.taken, self.answer = True, result

    def set_exception(self, exception: BaseException) -> None:
        """See `mailbox.Answer`."""
        self.taken, self.error = True, exception


@dataclass
class Lives:
    """The lives of the instance that are over."""

    endings: list[Detail] = field(default_factory=list[Detail])
    discarded: int = 0
    rejected: int = 0
    run_count: int = 0


class Simulation(MemoryDriver):
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
        self.worker: Worker = worker or (lambda request, now: Ends(None))
        self.random = random.Random(seed)
        self.registry = Registry([job], TrackingIdentity(env="test") if tracked else None)
        self.asks_answered: bool = True
        """Whether a worker answers what the machine asks."""

        self.letters_first: bool = False
        """Whether messages are taken up before outcomes that came with them."""

        self.attempts: list[RunRequest] = []
        self.carried = 0
        self.tracked: list[Detail] = []
        """The tracking events, numbered, as they were settled."""

        self.numbered: dict[int, Detail] = {}
        self.lives = Lives()
        self.warnings: list[str] = []
        self.executions: list[list[Detail]] = []
        """The tracking events of workflows that have ended."""

        self._ends: tuple[datetime, Outcome] | None = None
        """When the attempt under way ends, and how."""

        ref = JobRef(job_type=job.job_type, job=job.name, key=key)
        tools = Tools(self._mint, self.random.random, self.warnings.append)
        super().__init__(ref, start, tools, "run-1")
        if state is not None:
            self.machine.keep_state(state, 1)
        if options is not None:
            self.machine.suggest(options)

    def make_machine(self, kept: Snapshot | None) -> Machine:
        """See base class. Each end is noted."""
        machine = super().make_machine(kept)
        reopen = machine.reopen

        def noted(now: datetime) -> None:
            self._note_end()
            reopen(now)

        setattr(machine, "reopen", noted)  # noqa: B010
        return machine

    def _mint(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    # -- what callers do

    def post(self, verb: str, *events: JSON | EventText | BadInput, **given: Any) -> Posted:
        """Put a message into the mailbox."""
        if self.finished and verb in self.kind.brings:
            self.start_again()
        found = [each if _is_event(each) else EventText.of(each) for each in events]
        posted = Posted()
        message = Message(verb, self.now, found, **given)
        self.mailbox.put(Letter(verb, self.now, message=message, answer=posted))
        return posted

    def start_again(self) -> None:
        """Start another workflow after one has ended; a message that brings events does as well."""
        self.settle_tracking()
        self.executions.append(self.tracked)
        self.tracked, self.numbered = [], {}
        self.begin_execution(f"run-{len(self.executions) + 1}")

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

    def begin_attempt(self, request: RunRequest) -> None:
        """See base class."""
        # What travels is JSON.
        request = RunRequest.model_validate_json(dumps(request))
        self.attempts.append(request)
        assert request.handler
        assert self.machine.summary() is not None
        ends = self.worker(request, self.now)
        self._ends = None if ends.outcome is None else (self.now + ends.after, ends.outcome)

    def cancel_attempt(self) -> None:
        """See base class."""
        if self.attempt is not None and self.attempt.outcome is None:
            self.end_attempt(CutOff())

    def finish(self, outcome: Outcome) -> None:
        """End the attempt under way, and go on until the machine waits."""
        self.end_attempt(outcome)
        self.settle()

    @property
    def under_way(self) -> bool:
        """Whether an attempt is under way and nothing ends it but `finish`."""
        attempt = self.attempt
        return attempt is not None and attempt.outcome is None and self._ends is None

    def warn(self, text: str, *args: object) -> None:
        """See base class."""
        self.warnings.append(text % args)

    def judge(self, message: Message) -> None:
        """See base class. What tests post was judged."""
        raise AssertionError("nothing is posted unread")

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
        attempt = self._ends[0] if self._ends and self.attempt else None
        return min(filter(None, (self.timer, attempt)), default=None)

    def take(self) -> bool:
        """See base class."""
        if self._ends is not None and self._ends[0] <= self.now:
            (_, outcome), self._ends = self._ends, None
            if self.attempt is not None and self.attempt.outcome is None:
                self.end_attempt(outcome)
        if self.letters_first:
            self.letters.take_slice(self.machine)
        return super().take()

    def _note_end(self) -> None:
        machine = self.machine
        goes_on = machine.ending.status == "completed" and not machine.ending.planned
        self.lives.discarded += machine.ending.discarded
        self.lives.endings.append(machine.result())
        if not goes_on or self.finished:
            self.lives.rejected += machine.life.rejected
            self.lives.run_count += machine.life.run_count

    def ended(self) -> None:
        """See base class."""
        self._note_end()
        self.settle_tracking()

    # -- what a worker answers

    def ask(self, call: Call) -> None:
        """See base class."""
        if self.asks_answered:
            self.answer_asked()

    def answer_asked(self, result: BaseModel | str | None = None) -> None:
        """Answer what the machine asked, by the definition where nothing else is given."""
        assert self.call is not None
        call = self.call.call
        given = result if result is not None else self.answer_of(call)
        if isinstance(given, BaseModel):
            given = call.answer.model_validate_json(dumps(given))
        self.answer(call, given)

    @property
    def asked(self) -> str | None:
        """The name of what a worker is asked at the moment."""
        return self.call.call.name if self.call else None

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
        carried = OutboxCarry.model_validate_json(outbox)
        self.outbox = Outbox(self.ref, self.ref.instance_id, carried)
        self.machine = self.make_machine(Snapshot.model_validate_json(snapshot))
        assert dumps(self.machine.snapshot()) == snapshot, "what travelled is not what came"
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
            done = DeliverResult(execution_id=self.outbox.execution_id, delivered=len(taken))
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
