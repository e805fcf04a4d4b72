"""Drives one machine in memory: the loop of `workflows/driver.py` without Temporal or a clock."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from durable_jobs.kinds import KINDS, JobKind
from durable_jobs.protocol import DeliverResult, Detail, JobRef, RunRequest, TrackingIdentity
from durable_jobs.spans import LONGEST, later
from durable_jobs.tracking.outbox import Outbox, OutboxCarry
from durable_jobs.workflows.letters import Letters
from durable_jobs.workflows.machines.continuous import ContinuousMachine
from durable_jobs.workflows.machines.debounce import DebounceMachine
from durable_jobs.workflows.machines.machine import Machine, Snapshot, Tools
from durable_jobs.workflows.machines.messages import Message
from durable_jobs.workflows.machines.run import CutOff, Outcome
from durable_jobs.workflows.machines.steps import Attempt, Call, Cancel, Finish, Step, Wait
from durable_jobs.workflows.machines.task import TaskMachine
from durable_jobs.workflows.machines.worker_pool import WorkerPoolMachine
from durable_jobs.workflows.mailbox import Mailbox

MOST_TURNS = 100_000
"""A machine that wants so many turns at one moment would never let go of its thread."""

MACHINES: dict[str, type[Machine]] = {
    machine.job_type: machine
    for machine in (ContinuousMachine, DebounceMachine, TaskMachine, WorkerPoolMachine)
}


@dataclass(slots=True)
class UnderWay:
    """The attempt under way, or what has come of it."""

    outcome: Outcome | None = None
    """None until it has ended."""

    cancelled: bool = False


@dataclass(slots=True)
class Asked:
    """A question to a worker, and its answer."""

    call: Call
    answer: BaseModel | str | None = None
    """Why there is none, where it is text."""


class MemoryDriver(ABC):
    """One instance. Whoever drives it sets `now` before each `settle`.

    Subclasses make the attempts, answer the questions, and say so with `end_attempt` and `answer`.
    """

    def __init__(self, ref: JobRef, now: datetime, tools: Tools, execution_id: str) -> None:
        self.kind: JobKind = KINDS[ref.job_type]
        self.ref = ref
        self.now = now
        self._tools = tools
        self.mailbox: Mailbox = Mailbox()
        self.letters: Letters = Letters(self.kind, self.mailbox, self)
        self.attempt: UnderWay | None = None
        self.call: Asked | None = None
        self.timer: datetime | None = None
        self.finished: bool = False
        self.outbox: Outbox
        self.machine: Machine
        self.begin_execution(execution_id)

    def begin_execution(self, execution_id: str) -> None:
        """Begin as another workflow under the same ID."""
        self.timer, self.finished = None, False
        carried = OutboxCarry(execution_id=execution_id)
        self.outbox = Outbox(self.ref, self.ref.instance_id, carried)
        self.machine = self.make_machine(None)

    def make_machine(self, kept: Snapshot | None) -> Machine:
        """A machine, from a snapshot where there is one."""
        machine = MACHINES[self.kind.name]
        return machine(self.ref, self.now, self.outbox, self._tools, kept)

    # -- what subclasses do

    @abstractmethod
    def begin_attempt(self, request: RunRequest) -> None:
        """Make an attempt; `end_attempt` says what came of it."""

    @abstractmethod
    def cancel_attempt(self) -> None:
        """Have the attempt under way end soon."""

    @abstractmethod
    def ask(self, call: Call) -> None:
        """Ask a worker; `answer` says what it answers."""

    @abstractmethod
    def judge(self, message: Message) -> None:
        """See `letters.Context`."""

    @abstractmethod
    def warn(self, text: str, *args: object) -> None:
        """See `letters.Context`."""

    @abstractmethod
    def ended(self) -> None:
        """The workflow has ended."""

    # -- what they report

    def end_attempt(self, outcome: Outcome) -> None:
        """The attempt under way has ended; the machine hears of it with its next turn."""
        assert self.attempt is not None, "no attempt is under way"
        self.attempt.outcome = outcome

    def answer(self, call: Call, answer: BaseModel | str) -> None:
        """A worker has answered; nobody asks any more where another question took its place."""
        if self.call is not None and self.call.call is call:
            self.call.answer = answer

    # -- the loop

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
        if self.take():
            # Between two slices of a long mailbox a worker may fold.
            beside = self.machine.beside(self.now) if self.call is None else None
            if beside is not None:
                self._ask(beside)
            return True
        return self._do(self.machine.next(self.now))

    def take(self) -> bool:
        """Take up what has come. Returns whether more letters can be taken up."""
        self.take_results()
        return self.letters.take_slice(self.machine)

    def take_results(self) -> None:
        """Take up what has ended: attempt, question, timer."""
        attempt, call = self.attempt, self.call
        if attempt is not None and attempt.outcome is not None:
            self.attempt = None
            self.machine.outcome(attempt.outcome, self.now)
        if call is not None and call.answer is not None:
            self.call = None
            if isinstance(call.answer, str):
                self.machine.call_failed(call.call.name, call.answer)
            else:
                self.machine.answered(call.call.name, call.answer, self.now)
        if self.timer is not None and self.timer <= self.now:
            self.timer = None

    def _has_results(self) -> bool:
        attempt = self.attempt is not None and self.attempt.outcome is not None
        return attempt or (self.call is not None and self.call.answer is not None)

    def _do(self, step: Step) -> bool:
        match step:
            case Attempt():
                self.attempt = UnderWay()
                self.begin_attempt(self.machine.request())
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
        # One that is asked later takes the place of one under way.
        self.call = Asked(call)
        self.ask(call)

    def _cancel(self) -> bool:
        """Let the attempt end by itself: what it reports counts."""
        if self.attempt is None:
            self.machine.outcome(CutOff(), self.now)
            return True
        if not self.attempt.cancelled:
            self.attempt.cancelled = True
            self.cancel_attempt()
        return self._has_results()

    def _wait(self, until: datetime | None) -> bool:
        # No server takes a timer that is much longer.
        self.timer = until and min(max(until, self.now), later(self.now, LONGEST.total_seconds()))
        due = until is not None and until <= self.now
        return due or self.letters.waiting(self.machine) or self._has_results()

    def _finish(self) -> bool:
        if self.machine.more_waits:
            self.machine.reopen(self.now)
            return True
        self.call = None
        if self.mailbox:
            return True
        self.finished = True
        self.ended()
        return False

    # -- tracking

    def tell(self, identity: TrackingIdentity | None) -> list[Detail]:
        """The tracking events that nobody was told of yet, now delivered."""
        told: list[Detail] = []
        while self.outbox.pending:
            taken = self.outbox.take()
            delivered = len(taken) if identity is not None else 0
            self.outbox.settle(
                DeliverResult(
                    execution_id=self.outbox.execution_id, delivered=delivered, tracking=identity
                )
            )
            told.extend(taken)
        return told
