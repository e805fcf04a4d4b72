"""One instance in memory: its machine, and the user's own handlers."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid5

from temporalio.common import RawValue

from durable_jobs.names import ASK_AGAIN_MARK, JUDGE, NEXT_DUE
from durable_jobs.protocol import Detail, JobRef, Options, RunRequest
from durable_jobs.questions import Folded, JudgeRequest, NextDue, NextDueRequest
from durable_jobs.traceparent import read_traceparent
from durable_jobs.values import JSON
from durable_jobs.workflows.inputs import read_message
from durable_jobs.workflows.letters import refusal
from durable_jobs.workflows.machines.machine import Tools
from durable_jobs.workflows.machines.messages import BadInput, Message, Refused
from durable_jobs.workflows.machines.run import CutOff, Lost, Outcome, Succeeded
from durable_jobs.workflows.machines.steps import Call
from durable_jobs.workflows.machines.task import TaskMachine
from durable_jobs.workflows.machines.texts import EventText, values_of
from durable_jobs.workflows.mailbox import Letter
from durable_jobs.workflows.workflow import reply_of

from .attempts import Worker
from .clock import Clock
from .driver import MemoryDriver
from .effects import killing

logger: logging.Logger = logging.getLogger(__name__)

_CANCEL_GRACE = 10.0
"""Seconds that a cancelled attempt has to end, as in `workflows/driver.py`."""


class Surroundings(Protocol):
    """What all instances share."""

    clock: Clock
    worker: Worker

    def chance(self) -> float:
        """A number from 0 to 1."""
        ...

    def tell(self, told: list[Detail]) -> None:
        """Take the tracking events of an instance."""
        ...


class Execution(MemoryDriver):
    """One workflow of an instance, from its start to its end."""

    def __init__(
        self, ref: JobRef, run_id: str, around: Surroundings, start: dict[str, JSON]
    ) -> None:
        self._around = around
        self._loop = around.clock.loop
        self._minted = 0
        self.run_id = run_id
        self.started_at: datetime = around.clock.now()
        self._wake_up: asyncio.TimerHandle | None = None
        self._making: asyncio.Task[None] | None = None
        self._beat: Detail | None = None
        """What the attempt under way last said with a heartbeat."""

        self._asking = set[asyncio.Task[None]]()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._updates: dict[str, asyncio.Task[JSON]] = {}
        tools = Tools(self._mint, around.chance, logger.warning)
        super().__init__(ref, self.started_at, tools, run_id)
        self._take_start(start)

    def _mint(self) -> str:
        self._minted += 1
        return str(uuid5(UUID(self.run_id), str(self._minted)))

    def _take_start(self, start: dict[str, JSON]) -> None:
        """Take what the caller that started the instance gave with it."""
        self.machine.life.traceparent = read_traceparent(start.get("traceparent"))
        if start.get("state") is not None:
            self.machine.keep_state(start["state"], int(start.get("stateVersion", 1)))
        if start.get("options") is not None:
            self.machine.suggest(Options.model_validate(start["options"]))

    def wake(self) -> None:
        """Do all that can be done now."""
        self.now: datetime = self._around.clock.now()
        self.settle()
        self._around.tell(self.tell(self._around.worker.identity))
        self._resume_waiting()
        if self._wake_up is not None:
            self._wake_up.cancel()
        due = None if self.finished else self.timer
        self._wake_up = due and self._loop.call_at(self._around.clock.at(due), self.wake)

    def _resume_waiting(self) -> None:
        for condition, waiting in self._waiting:
            if not waiting.done() and condition():
                waiting.set_result(None)
        self._waiting = [each for each in self._waiting if not each[1].done()]

    async def _until(self, condition: Callable[[], bool]) -> None:
        if not condition():
            waiting: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append((condition, waiting))
            await waiting

    # -- what callers send

    def receive(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal."""
        can_wait = name in self.kind.brings and name not in self.kind.update_only
        self.mailbox.put(Letter(name, self._around.clock.now(), args, can_wait=can_wait))
        self.wake()

    async def update(self, name: str, args: Sequence[RawValue], update_id: str) -> JSON:
        """Take an update, and wait for the answer. One that comes again joins the first.

        Raises:
            ApplicationError: the instance refuses it.
        """
        if update_id not in self._updates:
            made = asyncio.create_task(self._updated(name, args, update_id))
            # Its caller may have gone when the answer comes.
            made.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._updates[update_id] = made
        return await asyncio.shield(self._updates[update_id])

    async def _updated(self, name: str, args: Sequence[RawValue], update_id: str) -> JSON:
        try:
            message = read_message(self.kind, name, args, self._around.clock.now())
            for event in message.events:
                if isinstance(event, BadInput):
                    raise event
            if name == "ask":
                return await self._ask_event(message, update_id.split(ASK_AGAIN_MARK)[0])
            await self._judge_events(message)
            if name == "reschedule":
                await self._judge_rule(message)
            return await self._deliver(message)
        except (BadInput, Refused) as error:
            raise refusal(error) from error

    async def _deliver(self, message: Message) -> JSON:
        answer: asyncio.Future[JSON] = self._loop.create_future()
        self.mailbox.put(Letter(message.verb, message.at, message=message, answer=answer))
        self.wake()
        return await answer

    async def _ask_event(self, message: Message, event_id: str) -> JSON:
        machine = self.machine
        if not isinstance(machine, TaskMachine):
            raise BadInput("only task jobs can be asked")
        [event] = message.events
        if isinstance(event, EventText):
            message.events = [event.named(event_id)]
        await self._deliver(message)
        await self._until(
            lambda: (
                machine.has_answer(event_id) or not machine.knows(event_id) or machine.holds_asks
            )
        )
        return reply_of(machine, event_id)

    async def _judge_events(self, message: Message) -> None:
        events = [event for event in message.events if isinstance(event, EventText)]
        if message.judged or not events:
            return
        request = JudgeRequest(**self.ref.model_dump(), events=values_of(events))
        found = await self._around.worker.answer(Call(JUDGE, request, Folded, ""))
        assert isinstance(found, Folded), found
        message.wrong = {rejected.index: rejected.reason for rejected in found.rejected}
        if message.wrong and not message.each:
            raise BadInput(next(iter(message.wrong.values())))

    async def _judge_rule(self, message: Message) -> None:
        rule = message.rule
        if rule is not None and rule.cron is not None:
            request = NextDueRequest(rule=rule, after=message.at, judge=True)
            found = await self._around.worker.answer(Call(NEXT_DUE, request, NextDue, ""))
            assert isinstance(found, NextDue), found
            message.fault = found.problem

    def judge(self, message: Message) -> None:
        """See base class."""
        self._begin(self._put_judged(message))

    async def _put_judged(self, message: Message) -> None:
        await self._judge_rule(message)
        self.mailbox.put(Letter(message.verb, message.at, message=message))
        self.wake()

    def warn(self, text: str, *args: object) -> None:
        """See base class."""
        logger.warning(text, *args)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    # -- attempts and questions

    def begin_attempt(self, request: RunRequest) -> None:
        """See base class."""
        self._beat = None
        context = self._around.worker.context.copy()
        self._making = self._loop.create_task(self._make(request), context=context)

    async def _make(self, request: RunRequest) -> None:
        outcome = await self._attempt(request)
        following = killing.next_attempt(request) if isinstance(outcome, Succeeded) else None
        if following is not None:
            # Nobody heard of the first one.
            outcome = await self._attempt(following)
        if self._making is asyncio.current_task():
            self._making = None
            self.end_attempt(outcome)
            self.wake()

    async def _attempt(self, request: RunRequest) -> Outcome:
        worker = self._around.worker
        return await worker.attempt(request, self._around.clock.now(), self._note)

    def _note(self, mark: Detail) -> None:
        self._beat = mark

    def cancel_attempt(self) -> None:
        """See base class."""
        if self._making is not None:
            self._making.cancel()
            self._loop.call_later(_CANCEL_GRACE, self._leave_behind, self._making)

    def _leave_behind(self, making: asyncio.Task[None]) -> None:
        if self._making is making:
            self._making = None
            self.end_attempt(CutOff())
            self.wake()

    def lose_attempt(self) -> None:
        """The worker that makes the attempt under way is killed."""
        if self._making is not None:
            making, self._making = self._making, None
            making.cancel()
            seconds = self.machine.rules.heartbeat_timeout
            self._loop.call_later(seconds, self._lost, Lost(heartbeat=self._beat))

    def _lost(self, lost: Lost) -> None:
        self.end_attempt(lost)
        self.wake()

    def ask(self, call: Call) -> None:
        """See base class."""
        self._begin(self._answer(call))

    async def _answer(self, call: Call) -> None:
        self.answer(call, await self._around.worker.answer(call))
        self.wake()

    def ended(self) -> None:
        """See base class."""
