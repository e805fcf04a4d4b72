"""The Temporal workflows: how callers reach an instance. A driver does the rest."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.kinds import KINDS, JobKind
from durable_jobs.names import ASK_AGAIN, ASK_AGAIN_MARK, BUSY, JUDGE, OUTBOX_QUERY
from durable_jobs.protocol import JobType, Leftover
from durable_jobs.questions import Folded, JudgeRequest
from durable_jobs.values import JSON
from durable_jobs.wire import to_raw

from . import carry
from .calls import ask
from .driver import Driver
from .inputs import read_message, read_start
from .letters import refusal
from .machines.continuous import ContinuousMachine
from .machines.debounce import DebounceMachine
from .machines.machine import Machine
from .machines.messages import BadInput, Message, Refused
from .machines.task import TaskMachine
from .machines.texts import EventText, values_of
from .machines.worker_pool import WorkerPoolMachine
from .mailbox import Letter
from .sdk_workarounds import raw_start


class JobWorkflow:
    """Base of the workflows of all job types. It runs no user code and reads no setting."""

    machine: ClassVar[type[Machine]]
    job_type: ClassVar[JobType]

    def __init__(self, *args: Any) -> None:
        info = workflow.info()
        self.kind: JobKind = KINDS[self.job_type]
        self.problem: str | None = None
        """What is wrong with the start argument, if anything is."""

        try:
            continued = info.continued_run_id is not None
            start = read_start(args, self.kind, info.workflow_id, continued=continued)
        except BadInput as error:
            self.problem, start = str(error), {"job": "?", "key": "?"}
        self.driver: Driver = Driver(self.machine, self.kind, start)

    async def live(self) -> RawValue:
        """The whole run of the workflow. Temporal's cancel is a `terminate`."""
        if self.problem is not None:
            raise ApplicationError(self.problem, type="InvalidStart", non_retryable=True)
        life = asyncio.create_task(self.driver.run())
        while not life.done():
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                at = self.driver.now()
                message = Message("terminate", at, text="cancelled")
                self.driver.mailbox.put(Letter("terminate", at, message=message))
        return life.result()

    # -- signals and updates

    @workflow.signal(dynamic=True)
    def _on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self.driver.receive(name, args)

    @workflow.update(dynamic=True)
    async def _on_update(self, name: str, args: Sequence[RawValue]) -> RawValue:
        try:
            return to_raw(await self._answer(name, args))
        except (BadInput, Refused) as error:
            raise refusal(error) from error

    @_on_update.validator
    def _check_update(self, name: str, args: Sequence[RawValue]) -> None:
        if name in self.kind.brings and carry.is_full():
            why = "the history of its run has no room for more events; try again later"
            raise ApplicationError(why, type=BUSY, non_retryable=True)
        try:
            self._read_update(name, args)
        except BadInput as error:
            raise refusal(error) from error

    def _read_update(self, name: str, args: Sequence[RawValue]) -> Message:
        message = read_message(self.kind, name, args, self.driver.now())
        for event in message.events:
            if isinstance(event, BadInput):
                raise event
        return message

    async def _answer(self, name: str, args: Sequence[RawValue]) -> JSON:
        message = self._read_update(name, args)
        if name == "ask":
            return await self._ask(message)
        await self._judge(message)
        if name == "reschedule":
            await self.driver.judged(message)
        if message.events:
            # When it flushes is known once the options are.
            await workflow.wait_condition(
                lambda: self.driver.machine.options is not None or self.driver.machine.closing
            )
        return await self.driver.deliver(message)

    async def _judge(self, message: Message) -> None:
        """Have a worker say which events do not fit, where the caller has not seen to it."""
        events = [event for event in message.events if isinstance(event, EventText)]
        if message.judged or not events:
            return
        request = JudgeRequest(**self.driver.machine.ref.model_dump(), events=values_of(events))
        found = await ask(JUDGE, request, Folded, "judge an update's events")
        message.wrong = {rejected.index: rejected.reason for rejected in found.rejected}
        if message.wrong and not message.each:
            raise BadInput(next(iter(message.wrong.values())))

    async def _ask(self, message: Message) -> JSON:
        """Queue an event and wait for its reply. The update's id is the event's."""
        machine = self.driver.machine
        if not isinstance(machine, TaskMachine):
            raise BadInput("only task jobs can be asked")
        info = workflow.current_update_info()
        event_id = (info.id if info else str(workflow.uuid4())).split(ASK_AGAIN_MARK)[0]
        event = message.events[0]
        if isinstance(event, EventText):
            message.events = [event.named(event_id)]
        await self.driver.deliver(message)
        await workflow.wait_condition(
            lambda: (
                machine.has_answer(event_id)
                or not machine.knows(event_id)
                or self.driver.hands_back
                or machine.holds_asks
            )
        )
        return reply_of(machine, event_id)

    # -- queries

    @workflow.query(name="status")
    def _on_status(self) -> RawValue:
        return to_raw(self.driver.machine.status())

    @workflow.query(name="state")
    def _on_state(self) -> RawValue:
        return to_raw(self.driver.machine.state_answer())

    @workflow.query(name=OUTBOX_QUERY)
    def _on_outbox(self) -> RawValue:
        """For `reconcile`, of an instance that was ended from outside."""
        machine = self.driver.machine
        left = Leftover(
            outbox=machine.outbox.carry().model_dump(mode="json"),
            tracked=machine.outbox.tracked,
            run_count=machine.life.run_count,
            discarded=machine.ending.discarded + machine.waiting_events(),
            told=machine.ending.status in ("terminated", "failed"),
        )
        return to_raw(left)


def reply_of(machine: TaskMachine, event_id: str) -> JSON:
    """The answer to an `ask`; raises `Refused` where there is none, or not yet."""
    reply = machine.reply(event_id)
    if reply is None and machine.knows(event_id):
        mark = f"{event_id}{ASK_AGAIN_MARK}"
        why = f"not answered yet; ask again with the update ID {mark}<anything new> to join it"
        raise Refused(ASK_AGAIN, why)
    if reply is None:
        raise Refused("JobFailed", "the instance ended before the event was handled")
    if "error" in reply:
        raise Refused("JobFailed", reply["error"])
    return reply["reply"]


@workflow.defn(name="ContinuousJob", sandboxed=False)
class ContinuousWorkflow(JobWorkflow):
    """One continuous instance."""

    machine: ClassVar[type[Machine]] = ContinuousMachine
    job_type: ClassVar[JobType] = "continuous"

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until terminated, or until the planned end."""
        return await self.live()


@workflow.defn(name="DebounceJob", sandboxed=False)
class DebounceWorkflow(JobWorkflow):
    """One debounce instance."""

    machine: ClassVar[type[Machine]] = DebounceMachine
    job_type: ClassVar[JobType] = "debounce"

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until a window was flushed and nothing waits."""
        return await self.live()


@workflow.defn(name="TaskJob", sandboxed=False)
class TaskWorkflow(JobWorkflow):
    """One task instance."""

    machine: ClassVar[type[Machine]] = TaskMachine
    job_type: ClassVar[JobType] = "task"

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until terminated."""
        return await self.live()


@workflow.defn(name="WorkerPoolJob", sandboxed=False)
class WorkerPoolWorkflow(JobWorkflow):
    """One instance of a worker pool."""

    machine: ClassVar[type[Machine]] = WorkerPoolMachine
    job_type: ClassVar[JobType] = "workerPool"

    @workflow.init
    @raw_start
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

    @workflow.run
    @raw_start
    async def run(self, *args: Any) -> RawValue:
        """Live until terminated, drained, or idle for long."""
        return await self.live()
