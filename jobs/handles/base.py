"""What the handles of all job types can do with an instance."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateFailedError
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from ..arguments import check_event_id, check_text, check_time
from ..definitions import Job
from ..definitions.codec import Codec, codec_of
from ..definitions.identity import instance_id_of
from ..errors import DefinitionError, InvalidEvent, JobsError
from ..names import BUSY
from ..status import EraseReceipt, JobStatus
from ..tracing import sending
from ..wire import JSON, json_to_raw
from .batch import Item, batch_json, mark, patiently, run_is_full
from .connection import Connection
from .instance import Instance, NeverRanError, answered, heard, is_missing
from .limits import ANSWER_TIME, ERASE_TIME, TimeLimit
from .scale import NotYet
from .visible import with_job_status

State = TypeVar("State")


class Handle(Generic[State]):
    """One instance of one job. Cheap to make; nothing is sent before a method is called."""

    workflow: str
    """The workflow type."""

    def __init__(self, connection: Connection, job: type[Job], key: str) -> None:
        self.job_name: str = job.name
        self.instance_id: str = instance_id_of(job, key)
        self.key: str = str.__str__(key)
        self._connection = connection
        self._instance = Instance(connection, self.instance_id)
        self._codec: Codec = codec_of(job)
        self._job = job

    # -- control ------------------------------------------------------------------------------

    async def pause(self, note: str | None = None) -> bool:
        """Start nothing new until `resume`. False where no instance is alive.

        The status shows the note (who and why), which has at most 1,000 characters.
        """
        return await self._control("pause", *self._given("the note", note))

    async def resume(self, note: str | None = None) -> bool:
        """Go on after `pause`. False where no instance is alive. The status shows the note."""
        return await self._control("resume", *self._given("the note", note))

    async def terminate(self, reason: str | None = None) -> bool:
        """End the instance; what waits is dropped and counted. False where none is alive.

        The reason has at most 1,000 characters.
        """
        return await self._control("terminate", *self._given("the reason", reason))

    async def erase(self, timeout: timedelta = ERASE_TIME) -> EraseReceipt:
        """End the instance and delete all that Temporal has of it, for good.

        Waits for its end and then for its tracking events, `timeout` for each, and until Temporal
        has deleted it, which takes some 35 s. After an error, erase it again: that does the rest.
        What a collector keeps is erased there.

        Raises:
            NoWorker: none ended it within `timeout`. It ends once one runs; nothing was deleted.
            JobsError: tracking events of it wait for their collector, it was ended from outside
                and `durable-jobs reconcile` has not run since, or it lives on.
        """
        check_time(timeout, f"{self.instance_id}: timeout")
        # Few callers need it.
        from ..erasing.eraser import Eraser

        return await Eraser(self._connection, self._instance, timeout).erase()

    def _given(self, what: str, text: str | None) -> list[JSON]:
        check_text(text, f"{self.instance_id}: {what}")
        return [] if text is None else [text]

    async def _control(self, verb: str, *args: JSON) -> bool:
        try:
            await self._tell(verb, list(args))
        except RPCError as error:
            if is_missing(error):
                return False
            raise await self._instance.explained(error) from error
        except WorkflowUpdateFailedError as error:
            raise self._refused(error) from error
        return True

    async def _tell(self, verb: str, args: list[JSON]) -> None:
        if self._connection.once is None:
            try:
                await self._instance.signal(verb, args)
            except RPCError as error:
                # A run that takes no more signals still takes updates.
                if not run_is_full(error):
                    raise
            else:
                return
        await self._update(verb, args, TimeLimit(ANSWER_TIME))

    async def _counted(self, verb: str, args: list[JSON], limit: TimeLimit) -> int:
        """Have something done to events, and hear to how many; 0 where no instance is alive."""
        try:
            async with self._instance.within(limit):
                answer = await self._update(verb, args, limit)
        except RPCError as error:
            if is_missing(error):
                return 0
            raise await self._instance.explained(error) from error
        except WorkflowUpdateFailedError as error:
            raise self._refused(error) from error
        return int(next(iter(answer.values())))

    async def _update(self, verb: str, args: list[JSON], limit: TimeLimit) -> Any:
        once = self._connection.once
        update_id = None if once is None else once.next_id(self.instance_id, verb)
        return await self._instance.update(verb, args, limit, update_id=update_id)

    # -- questions ----------------------------------------------------------------------------

    async def status(self, timeout: timedelta = ANSWER_TIME) -> JobStatus | None:
        """What the instance does, or did at its end. None where there never was one.

        Raises:
            NoWorker: none answered within `timeout`.
            JobsError: a workflow that is no instance runs under its ID.
        """
        limit = self._limit(timeout)
        async with self._instance.within(limit):
            answer = await self._instance.status(limit)
        return None if answer is None else JobStatus.model_validate(answer)

    async def state(self, timeout: timedelta = ANSWER_TIME) -> State | None:
        """The state, or the last one of an ended instance. None where there never was one.

        Raises:
            NoWorker: none answered within `timeout`.
            StateMismatch: the stored state does not fit the state type.
        """
        limit = self._limit(timeout)
        try:
            async with self._instance.within(limit):
                answer = await self._instance.query("state", limit)
        except NeverRanError:
            return None
        return None if answer is None else self._codec.read_state(answer)

    def _limit(self, timeout: timedelta) -> TimeLimit:
        check_time(timeout, f"{self.instance_id}: timeout")
        return TimeLimit(timeout)

    # -- for the handles of one type ------------------------------------------------------------

    def _start_argument(self) -> dict[str, JSON]:
        return {"job": self.job_name, "key": self.key, "options": options_of(self._job)}

    async def _signal_or_start(self, signal: str, argument: JSON) -> None:
        lately = self._connection.lately
        if lately.has(self.instance_id) and await self._signalled(signal, argument):
            return
        await self._signal_with_start(signal, argument)
        lately.note(self.instance_id)

    async def _signalled(self, signal: str, argument: JSON) -> bool:
        """Whether a plain signal was taken; False where the instance has ended."""
        try:
            await self._instance.signal(signal, [argument])
        except RPCError as error:
            if not is_missing(error):
                raise await self._instance.explained(error) from error
            self._connection.lately.forget(self.instance_id)
            return False
        self._connection.lately.note(self.instance_id)
        return True

    async def _signal_with_start(self, signal: str, argument: JSON) -> None:
        client = await self._connection.link.client()

        async def start(attributes: TypedSearchAttributes | None) -> None:
            await client.start_workflow(
                self.workflow,
                self._start_argument(),
                id=self.instance_id,
                task_queue=self._connection.task_queue,
                start_signal=signal,
                start_signal_args=[argument],
                static_summary=f"{self.job_name} for {self.key}",
                search_attributes=attributes,
            )

        try:
            await with_job_status(client, start)
        except RPCError as error:
            raise await self._instance.explained(error) from error

    async def _update_with_start(
        self, update: str, args: list[JSON], *, update_id: str | None, limit: TimeLimit
    ) -> Any:
        """Raises `Unanswered` where the time limit passed, and the instance's own refusal."""
        client = await self._connection.link.client()
        time = limit.for_answer

        async def ask(attributes: TypedSearchAttributes | None) -> Any:
            start = WithStartWorkflowOperation[Any, Any](
                self.workflow,
                self._start_argument(),
                id=self.instance_id,
                task_queue=self._connection.task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"{self.job_name} for {self.key}",
                search_attributes=attributes,
            )
            # The SDK leaves a parameter of its overloads open.
            asked = client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
                update,
                args=args,
                start_workflow_operation=start,
                id=update_id,
                rpc_timeout=time,
            )
            try:
                return await answered(cast("Awaitable[Any]", asked), time)
            finally:
                heard(start)

        try:
            return await with_job_status(client, ask)
        except RPCError as error:
            raise await self._instance.explained(error) from error

    @contextmanager
    def _sending(self, verb: str, items: Sequence[Item]) -> Generator[None]:
        """Around the call that brings events: their traces begin there, or go on."""
        ids = [item.id for item in items]
        with sending(verb, self.job_name, self.instance_id, ids) as traceparent:
            mark(items, traceparent)
            yield

    async def _signal_events(self, verb: str, items: list[Item]) -> list[None]:
        """Send events in one signal; a plain one goes as the signal's argument."""
        if len(items) == 1 and items[0].is_plain:
            await self._until_taken(verb, items[0].data)
        else:
            await self._until_taken(f"{verb}_batch", batch_json(items))
        return [None] * len(items)

    async def _until_taken(self, signal: str, argument: bytes) -> None:
        async def send() -> None:
            await self._weigh(len(argument))
            await self._signal_or_start(signal, json_to_raw(argument))

        await patiently(send)

    async def _weigh(self, size: int) -> None:
        """Raises `Busy` where the instance must first work off what it was sent."""
        try:
            await self._connection.scale.weigh(await self._instance.workflow(), size)
        except RPCError as error:
            raise await self._instance.explained(error) from error

    def _item(
        self, event: Any, event_id: str | None, verb: str, limit: TimeLimit | None = None
    ) -> Item:
        given = self._event_id(event_id, verb)
        data = self._codec.event_json(event, self.key)
        return Item(data, given, asyncio.get_running_loop().create_future(), limit)

    def _event_id(self, given: str | None, verb: str) -> str | None:
        once = self._connection.once
        check_event_id(given, self.instance_id)
        return once.next_id(self.instance_id, verb) if given is None and once else given

    def _not_yet(self, error: WorkflowUpdateFailedError, *more: str) -> NotYet | None:
        """Whether the instance has no room for what an update brings, or refuses it as `more`."""
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type in (BUSY, *more):
            return NotYet(f"{self.instance_id}: {cause.message}")
        return None

    def _refused(self, error: WorkflowUpdateFailedError) -> JobsError:
        cause = error.cause
        message = cause.message if isinstance(cause, ApplicationError) else str(cause)
        kind = cause.type if isinstance(cause, ApplicationError) else None
        known: dict[str | None, Callable[[str], JobsError]] = {
            "InvalidEvent": InvalidEvent,
            "DefinitionError": DefinitionError,
        }
        return known.get(kind, JobsError)(f"{self.instance_id}: {message}")


@lru_cache(maxsize=1024)
def options_of(job: type[Job]) -> JSON:
    """The definition's options: with them an instance begins before any worker has spoken."""
    try:
        return job.options().model_dump(mode="json")
    except (AttributeError, TypeError):
        # A definition that only a worker knows in full, or that is wrong: the worker says so.
        return None
