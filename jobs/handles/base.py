"""What the handles of all job types can do with an instance."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from itertools import count
from typing import Any, Generic, TypeVar

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from ..definitions import Job
from ..definitions.codec import Codec, codec_of
from ..definitions.identity import instance_id_of
from ..errors import Busy, DefinitionError, InvalidEvent, JobsError
from ..names import BUSY
from ..protocol import JobType
from ..status import JobStatus, StatusWord
from ..wire import JSON, MAX_EVENT_ID, json_to_raw
from .batch import Batcher, Item, batch_json, patiently, run_is_full
from .lately import Lately
from .progress import progress_of
from .scale import NotYet, Scale

State = TypeVar("State")

_ENDED: dict[WorkflowExecutionStatus, StatusWord] = {
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.CANCELED: "terminated",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.COMPLETED: "completed",
}


class _NeverRanError(JobsError):
    """The instance was ended from outside before its first workflow task."""


_OVER = {"completed", "terminated", "failed"}


class Once:
    """Names a run's calls, so that a repeated attempt's are known as the same."""

    def __init__(self, run_key: str) -> None:
        self._run_key = run_key
        self._counts: dict[str, count[int]] = {}

    def next_id(self, instance_id: str, verb: str) -> str:
        """The id of the next call of its kind to an instance."""
        target = f"{verb}:{instance_id}"
        number = next(self._counts.setdefault(target, count(1)))
        return f"{self._run_key}:{target}:{number}"


@dataclass(frozen=True, slots=True)
class Connection:
    """What handles need of their `JobClient`."""

    client: Client
    task_queue: str
    once: Once | None = None
    batcher: Batcher = field(default_factory=Batcher)
    """Shared by all handles, so that those of one key share their calls."""

    lately: Lately = field(default_factory=Lately)
    """Shared, so that whoever signals next knows too."""

    scale: Scale = field(default_factory=Scale)


class Handle(Generic[State]):
    """One instance of one job. Cheap to make; nothing is sent before a method is called."""

    workflow: str
    """The workflow type."""

    def __init__(self, connection: Connection, job: type[Job], key: str) -> None:
        self.key = key
        self._job_type: JobType = job.job_type
        self.job_name: str = job.name
        self.instance_id: str = instance_id_of(job, key)
        self._connection = connection
        self._codec: Codec = codec_of(job)
        self._job = job

    # -- control ------------------------------------------------------------------------------

    async def pause(self, note: str | None = None) -> bool:
        """Start nothing new until `resume`. False where no instance is alive.

        The status shows the note (who and why), at most 1,000 characters of it.
        """
        return await self._control("pause", *_given(note))

    async def resume(self, note: str | None = None) -> bool:
        """Go on after `pause`. False where no instance is alive. The status shows the note."""
        return await self._control("resume", *_given(note))

    async def terminate(self, reason: str | None = None) -> bool:
        """End the instance; what waits is dropped and counted. False where none is alive."""
        return await self._control("terminate", *_given(reason))

    async def _control(self, verb: str, *args: JSON) -> bool:
        try:
            await self._tell(verb, list(args))
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise self._busy_or(error) from error
        except WorkflowUpdateFailedError as error:
            raise self._refused(error) from error
        return True

    async def _tell(self, verb: str, args: list[JSON]) -> None:
        once = self._connection.once
        if once is None:
            try:
                await self._handle.signal(verb, args=args)
            except RPCError as error:
                # A run that takes no more signals still takes updates.
                if not run_is_full(error):
                    raise
            else:
                return
        update_id = None if once is None else once.next_id(self.instance_id, verb)
        # The SDK leaves a parameter of its overloads open.
        await self._handle.execute_update(  # pyright: ignore[reportUnknownMemberType]
            verb, args=args, id=update_id
        )

    # -- questions ----------------------------------------------------------------------------

    async def status(self) -> JobStatus | None:
        """What the instance does, or did at its end. None where there never was one."""
        try:
            answer = await self._query("status")
        except _NeverRanError:
            return await self._status_without_run()
        if answer is None:
            return None
        status = JobStatus.model_validate(answer)
        if status.status in _OVER:
            return status
        return await self._ended_from_outside(status)

    async def _status_without_run(self) -> JobStatus:
        found = await self._handle.describe()
        ended = _ENDED.get(found.status) if found.status is not None else None
        return JobStatus(
            job_type=self._job_type,
            job_name=self.job_name,
            key=self.key,
            instance_id=self.instance_id,
            status=ended or "terminated",
            run_count=0,
            attempt=0,
            event_count=0,
            next_run_at=None,
            will_flush_at=None,
            started_at=found.start_time,
            last_error=None,
            rejected_events=0,
        )

    async def _ended_from_outside(self, status: JobStatus) -> JobStatus:
        # Temporal's own terminate and time-outs run no workflow code: only the server knows.
        found = await self._handle.describe()
        ended = _ENDED.get(found.status) if found.status is not None else None
        if ended is not None:
            return status.model_copy(update={"status": ended})
        if status.status not in ("running", "retrying"):
            return status
        progress = await progress_of(found)
        return status if progress is None else status.model_copy(update={"progress": progress})

    async def state(self) -> State | None:
        """The state, or the last one of an ended instance. None where there never was one.

        Raises:
            StateMismatch: the stored state does not fit the state type.
        """
        try:
            answer = await self._query("state")
        except _NeverRanError:
            return None
        return None if answer is None else self._codec.read_state(answer)

    async def _query(self, name: str) -> JSON:
        try:
            return await self._handle.query(name)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            if error.status == RPCStatusCode.FAILED_PRECONDITION and "closed" in error.message:
                raise _NeverRanError from error
            raise self._busy_or(error) from error
        except WorkflowQueryFailedError as error:
            raise JobsError(f"{self.instance_id}: {name} failed: {error}") from error

    # -- for the handles of one type ------------------------------------------------------------

    @property
    def _handle(self) -> WorkflowHandle[Any, Any]:
        return self._connection.client.get_workflow_handle(self.instance_id)

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
            await self._handle.signal(signal, argument)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise self._busy_or(error) from error
            self._connection.lately.forget(self.instance_id)
            return False
        self._connection.lately.note(self.instance_id)
        return True

    async def _signal_with_start(self, signal: str, argument: JSON) -> None:
        try:
            await self._connection.client.start_workflow(
                self.workflow,
                self._start_argument(),
                id=self.instance_id,
                task_queue=self._connection.task_queue,
                start_signal=signal,
                start_signal_args=[argument],
                static_summary=f"{self.job_name} for {self.key}",
            )
        except RPCError as error:
            raise self._busy_or(error) from error

    async def _update_with_start(
        self,
        update: str,
        argument: JSON,
        *,
        update_id: str | None,
        timeout: timedelta | None = None,
    ) -> Any:
        start = WithStartWorkflowOperation[Any, Any](
            self.workflow,
            self._start_argument(),
            id=self.instance_id,
            task_queue=self._connection.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"{self.job_name} for {self.key}",
        )
        try:
            client = self._connection.client
            return await client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
                update,
                argument,
                start_workflow_operation=start,
                id=update_id,
                rpc_timeout=timeout,
            )
        except RPCError as error:
            raise self._busy_or(error) from error

    async def _signal_events(self, verb: str, items: list[Item]) -> list[None]:
        """Send events in one signal; one without an id goes as the signal's plain argument."""
        if len(items) == 1 and not items[0].id:
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
            await self._connection.scale.weigh(self._handle, size)
        except RPCError as error:
            raise self._busy_or(error) from error

    def _item(self, event: Any, event_id: str | None, verb: str) -> Item:
        data = self._codec.event_json(event, self.key)
        answer = asyncio.get_running_loop().create_future()
        return Item(data, self._event_id(event_id, verb), answer)

    def _event_id(self, given: str | None, verb: str) -> str | None:
        once = self._connection.once
        if given is not None and len(given) > MAX_EVENT_ID:
            raise InvalidEvent(
                f"{self.instance_id}: the id has {len(given)} characters, at most {MAX_EVENT_ID}"
            )
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

    def _busy_or(self, error: RPCError) -> Exception:
        if error.status != RPCStatusCode.RESOURCE_EXHAUSTED and not run_is_full(error):
            return error
        return Busy(
            f"{self.instance_id} takes no more at the moment ({error.message}); "
            "nothing accepted is lost, try again later"
        )


@lru_cache(maxsize=1024)
def options_of(job: type[Job]) -> JSON:
    """The definition's options: with them an instance begins before any worker has spoken."""
    try:
        return job.options().model_dump(mode="json")
    except (AttributeError, TypeError):
        # A definition that only a worker knows in full, or that is wrong: the worker says so.
        return None


def _given(text: str | None) -> list[JSON]:
    return [] if text is None else [text]
