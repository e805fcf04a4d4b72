"""Drives one machine: the loop between callers, activities and what the machine decides.

Each turn takes up activities that have ended, then the mailbox, then the machine's next step.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from temporalio import workflow
from temporalio.common import MetricCounter, RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.kinds import JobKind
from durable_jobs.names import NEXT_DUE
from durable_jobs.protocol import JobRef, Options
from durable_jobs.questions import NextDue, NextDueRequest
from durable_jobs.traceparent import read_traceparent
from durable_jobs.tracking.metrics import EMITTED, EMITTED_MEANS
from durable_jobs.tracking.outbox import Outbox, OutboxCarry
from durable_jobs.values import JSON
from durable_jobs.wire import to_raw

from . import attempts, carry
from .calls import Pending, ask
from .delivering import Deliverer
from .letters import Letters
from .machines.machine import Machine, Tools
from .machines.messages import Message
from .machines.run import CutOff
from .machines.steps import Attempt, Call, Cancel, Finish, Step, Wait
from .mailbox import Letter, Mailbox
from .timer import Timer
from .visibility import tell_visibility

CANCEL_GRACE = timedelta(seconds=10)
"""How long a cancelled attempt has to end; it hears of the cancellation with a heartbeat."""

A_TURN = timedelta(milliseconds=1)
"""Between two slices of a long mailbox the server gets a turn: one activation must not be long."""


class Driver:
    """Drives one instance through one run of its workflow."""

    def __init__(self, machine: type[Machine], kind: JobKind, start: dict[str, JSON]) -> None:
        info = workflow.info()
        self.kind = kind
        self.updates: int = 0
        self.hands_back: bool = False
        """Whether continue-as-new waits for those that ask."""

        self._first_task = info.get_current_history_length()
        self._minted = 0
        self._attempt: attempts.Handle | None = None
        self._cancelled_at: datetime | None = None
        self._call: Pending | None = None
        self._timer = Timer()
        self._too_heavy_at: tuple[int, int] | None = None
        self._judges: list[asyncio.Task[None]] = []
        self._judge_turn = asyncio.Lock()
        self._cause: BaseException | None = None
        """The error of the last attempt that failed, as Temporal has it."""

        self._counter: MetricCounter | None = None
        kept = carry.unpacked(start["carry"]) if "carry" in start else None
        self.mailbox: Mailbox = Mailbox(kept.unread if kept else ())
        self._letters = Letters(kind, self.mailbox, self)
        ref = JobRef(job_type=kind.name, job=start["job"], key=start["key"])
        outbox = self._outbox(ref, kept.outbox if kept else None)
        tools = Tools(self._mint, lambda: workflow.random().random(), workflow.logger.warning)
        at = info.workflow_start_time
        self.machine: Machine = machine(ref, at, outbox, tools, kept.machine if kept else None)
        if kept is None:
            self._take_start(start)
        self._deliverer = Deliverer(self.machine)

    def _outbox(self, ref: JobRef, kept: OutboxCarry | None) -> Outbox:
        info = workflow.info()
        # A reset keeps all of a run but its ID; what follows is another execution.
        was_reset = info.run_id != info.original_execution_run_id
        found = kept or OutboxCarry(execution_id=info.first_execution_run_id)
        if was_reset:
            found.execution_id, found.settled = info.run_id, 0
        outbox = Outbox(ref, info.workflow_id, found, was_reset=was_reset)
        outbox.on_emit = self._count_emitted
        return outbox

    def _take_start(self, start: dict[str, JSON]) -> None:
        """Take what the caller that started the instance gave with it."""
        self.machine.life.traceparent = read_traceparent(start.get("traceparent"))
        if start.get("state") is not None:
            self.machine.keep_state(start["state"], int(start.get("stateVersion", 1)))
        if start.get("options") is not None:
            try:
                self.machine.suggest(Options.model_validate(start["options"]))
            except (ValueError, KeyError) as error:
                workflow.logger.warning("Ignored options that are none: %s", error)

    def _mint(self) -> str:
        """A key that no other run has: not after a reset either, which has an ID of its own."""
        self._minted += 1
        return str(uuid5(UUID(workflow.info().run_id), str(self._minted)))

    def _count_emitted(self, kind: str) -> None:
        if self._counter is None:
            # Records nothing during replay.
            counter = workflow.metric_meter().create_counter(EMITTED, EMITTED_MEANS)
            ref = self.machine.ref
            labels = {"job_type": ref.job_type, "job_name": ref.job}
            self._counter = counter.with_additional_attributes(labels)
        self._counter.add(1, {"event_type": kind})

    # -- what comes

    def now(self) -> datetime:
        """The time of what comes now; what waited for the first task came with the start."""
        info = workflow.info()
        first = info.get_current_history_length() == self._first_task
        return info.workflow_start_time if first else workflow.now()

    def receive(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal; constant work, whatever it carries."""
        can_wait = name in self.kind.brings and name not in self.kind.update_only
        self.mailbox.put(Letter(name, self.now(), args, can_wait=can_wait))

    async def deliver(self, message: Message) -> JSON:
        """Take an update, and wait for the machine's answer."""
        answer: asyncio.Future[JSON] = asyncio.get_running_loop().create_future()
        self.updates += 1
        self.mailbox.put(Letter(message.verb, message.at, message=message, answer=answer))
        return await answer

    # -- the loop

    async def run(self) -> RawValue:
        """Live until the life is over and nothing has come that opens another."""
        while True:
            self._take_results()
            if self._letters.take_slice(self.machine):
                await self._give_server_a_turn()
            elif (packed := self._due_carry()) is not None:
                await self._carry_on(packed)
            elif await self._do(self.machine.next(self.now())):
                return self._result()

    async def _do(self, step: Step) -> bool:
        """Do the next step. Returns whether the workflow is done."""
        self._show()
        match step:
            case Attempt():
                self._begin_attempt()
            case Call():
                self._call = Pending(step)
            case Cancel():
                await self._cancel_attempt()
            case Wait(until, what):
                self._deliverer.before_wait(self.now(), until)
                self._timer.set(until, what)
                tell_visibility(self.machine)
                await workflow.wait_condition(self._is_woken)
            case Finish():
                return await self._finish()
        return False

    def _is_woken(self) -> bool:
        return self._has_letters() or self._has_results()

    def _has_letters(self) -> bool:
        return self._letters.waiting(self.machine)

    def _has_results(self) -> bool:
        return (
            (self._attempt is not None and self._attempt.done())
            or (self._call is not None and self._call.done())
            or self._deliverer.done()
            or self._timer.fired()
        )

    def _take_results(self) -> None:
        now = self.now()
        if self._attempt is not None and self._attempt.done():
            handle, self._attempt, self._cancelled_at = self._attempt, None, None
            outcome, cause = attempts.outcome_of(handle)
            self._cause = cause or self._cause
            self.machine.outcome(outcome, now)
        if self._call is not None and self._call.done():
            call, self._call = self._call, None
            answer = call.answer()
            if isinstance(answer, str):
                self.machine.call_failed(call.name, answer)
            else:
                self.machine.answered(call.name, answer, now)
        self._deliverer.take_result(now)
        self._timer.clear()

    # -- what letters need, see `letters.Context`

    def warn(self, text: str, *args: object) -> None:
        """Log something; never during replay."""
        workflow.logger.warning(text, *args)

    def judge(self, message: Message) -> None:
        """Have a worker judge a schedule: one after the other, so that the last one holds."""
        self._judges.append(asyncio.create_task(self._take_judged(message)))

    async def judged(self, message: Message) -> Message:
        """A message whose cron line a worker has judged: workflows know no time zones."""
        rule = message.rule
        async with self._judge_turn:
            if rule is not None and rule.cron is not None:
                request = NextDueRequest(rule=rule, after=message.at, judge=True)
                summary = "whether the schedule is one"
                message.fault = (await ask(NEXT_DUE, request, NextDue, summary)).problem
        return message

    async def _take_judged(self, message: Message) -> None:
        await self.judged(message)
        self.mailbox.put(Letter(message.verb, message.at, message=message))

    @property
    def _is_judging(self) -> bool:
        self._judges = [judge for judge in self._judges if not judge.done()]
        return bool(self._judges)

    async def _give_server_a_turn(self) -> None:
        """Between two slices of a long mailbox: one activation must not take long."""
        fold = self.machine.beside(self.now()) if self._call is None else None
        if fold is not None:
            self._call = Pending(fold)
        await workflow.sleep(A_TURN, summary="take up more of what callers sent")

    # -- attempts

    def _begin_attempt(self) -> None:
        machine = self.machine
        self._attempt = attempts.start(
            machine.request(), machine.rules.heartbeat_timeout, machine.summary()
        )

    async def _cancel_attempt(self) -> None:
        """Let the attempt end by itself: what it reports stands in history and counts."""
        if self._attempt is None:
            self.machine.outcome(CutOff(), self.now())
            return
        if self._cancelled_at is None:
            self._cancelled_at = self.now()
            self._attempt.cancel()
        self._timer.set(self._cancelled_at + CANCEL_GRACE, "grace time of the last attempt")
        await workflow.wait_condition(self._has_results)
        if not self._attempt.done() and self.now() >= self._cancelled_at + CANCEL_GRACE:
            workflow.logger.warning("An attempt did not end when cancelled; it is left behind")
            self._attempt = self._cancelled_at = None

    # -- continue-as-new

    def _due_carry(self) -> JSON | None:
        """What continue-as-new is to carry now; None where it is not due or cannot be."""
        machine = self.machine
        machine.carry_due = carry.is_due(self.mailbox.received, self.updates)
        machine.history_full = carry.is_full()
        if machine.carry_due and machine.begun and not machine.over:
            # What is untold cannot travel, and once the next step told it nothing might wake us.
            machine.tell_pauses()
        ready = machine.at_rest and self._call is None and not self._is_judging and machine.fits
        if not (machine.carry_due and ready) or self._too_heavy_at == self._progress():
            return None
        kept = carry.Carry(
            machine=machine.snapshot(),
            outbox=machine.outbox.carry(),
            unread=self.mailbox.unread(),
        )
        packed = carry.packed(kept)
        if packed is None:
            self._too_heavy_at = self._progress()
        return packed

    def _progress(self) -> tuple[int, int]:
        """Changes when what was too heavy to carry may be lighter. Weighing takes its time."""
        runs = self.machine.life.run_count
        return self.mailbox.received, runs // 8 if self.machine.more_waits else runs

    async def _carry_on(self, packed: JSON) -> None:
        """Continue as new, unless something comes first."""
        self.hands_back = True
        await workflow.wait_condition(
            lambda: workflow.all_handlers_finished() or self._has_letters()
        )
        if not self._has_letters() and not self._is_judging:
            ref = self.machine.ref
            start = {"job": ref.job, "key": ref.key, "carry": packed}
            workflow.continue_as_new(to_raw(start))
        self.hands_back = False

    # -- the end

    async def _finish(self) -> bool:
        """Wind up a life that is over. Returns whether nothing came that goes on or begins anew."""
        machine = self.machine
        if machine.more_waits:
            machine.reopen(self.now())
            return False
        if self._call is not None:
            self._call.cancel()
            self._call = None
        delivered = self._deliverer.end()
        if self.mailbox:
            return False
        if delivered and workflow.all_handlers_finished():
            return True
        await workflow.wait_condition(
            lambda: self._is_woken() or (delivered and workflow.all_handlers_finished())
        )
        return False

    def _result(self) -> RawValue:
        self._show()
        machine = self.machine
        if machine.ending.status != "failed":
            return to_raw(machine.result())
        cause = self._cause or ApplicationError(machine.life.last_error or "failed")
        raise ApplicationError(
            machine.ending.reason or "failed", type="RetryExhausted", non_retryable=True
        ) from cause

    def _show(self) -> None:
        """Tell the Temporal UI what the instance does."""
        machine = self.machine
        error = f"\n\nLast error: {machine.life.last_error}" if machine.life.last_error else ""
        word, story = machine.status_word(), machine.story()
        told = story if story.startswith(word) else f"{word}, {story}"
        workflow.set_current_details(
            f"**{machine.ref.job}** for `{machine.ref.key}`: {told}{error}"
        )
