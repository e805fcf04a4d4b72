"""One instance by the wire alone: what the server and a worker say of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from ..connection import target_of
from ..errors import Busy, JobsError, NoWorker, TemporalUnreachable
from ..wire import JSON
from .batch import run_is_full
from .connection import Connection
from .ended import ended_word, foreign_text, status_of_server
from .limits import TimeLimit
from .progress import progress_of

_T = TypeVar("_T")
_OVER: Final = {"completed", "terminated", "failed"}
_SLACK = 0.2  # seconds
_SILENT = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)


class NeverRanError(JobsError):
    """The instance was ended from outside before its first workflow task."""


class UnreadableAnswer(JobsError):
    """An answer that was encoded by a payload codec which this client lacks."""


class Unanswered(JobsError):
    """An update's time was over before its answer came."""


class Instance:
    """One instance, named by its ID. Nothing is sent before a method is called."""

    def __init__(self, connection: Connection, instance_id: str) -> None:
        self.id = instance_id
        self._connection = connection

    async def workflow(self) -> WorkflowHandle[Any, Any]:
        """The SDK's handle of it."""
        return (await self._connection.link.client()).get_workflow_handle(self.id)

    async def look(self, limit: TimeLimit) -> WorkflowExecutionDescription | None:
        """What the server itself knows; None where it knows no such instance."""
        workflow = await self.workflow()
        try:
            return await workflow.describe(rpc_timeout=limit.left)
        except RPCError as error:
            if is_missing(error):
                return None
            raise await self.explained(error) from error

    async def status(self, limit: TimeLimit) -> dict[str, JSON] | None:
        """Its status as it goes over the wire; None where there never was one.

        Raises:
            NoWorker: none answered.
            JobsError: another workflow runs under its ID.
        """
        found = await self.look(limit)
        if found is None:
            return None
        word = ended_word(found)
        foreign = foreign_text(self.id, found)
        if foreign is not None:
            if word is None:
                raise JobsError(foreign)
            return status_of_server(self.id, found, word, foreign)
        try:
            answer = cast("dict[str, JSON] | None", await self.query("status", limit))
        except NeverRanError:
            return status_of_server(self.id, found, word or "terminated")
        if answer is None or answer["status"] in _OVER:
            return answer
        if word is not None:
            # Temporal's own terminate and time-outs run no workflow code: the server alone knows.
            answer["status"] = word
            if word == "failed" and answer.get("lastError") is None:
                answer["lastError"] = await self._failure(limit)
            return answer
        progress = await progress_of(found) if answer["status"] in ("running", "retrying") else None
        return answer if progress is None else answer | {"progress": progress}

    async def _failure(self, limit: TimeLimit) -> str | None:
        """What its workflow failed with."""
        try:
            await (await self.workflow()).result(rpc_timeout=limit.left)
        except WorkflowFailureError as error:
            return getattr(error.cause, "message", str(error.cause))
        except RPCError:
            # That it failed is known already; the server may not keep the error any more.
            return None
        return None

    async def query(self, name: str, limit: TimeLimit, *, to_the_end: bool = False) -> JSON:
        """The answer to a query; None where there never was an instance.

        `to_the_end` gives it all of the time that is left.

        Raises:
            NoWorker: none answered.
            NeverRanError: it has nothing to tell.
        """
        workflow = await self.workflow()
        time = limit.left if to_the_end else limit.for_answer
        try:
            return await answered(workflow.query(name, rpc_timeout=time), time)
        except Unanswered as error:
            raise await self.silence(limit) from error
        except RPCError as error:
            if is_missing(error):
                return None
            if error.status == RPCStatusCode.FAILED_PRECONDITION and "closed" in error.message:
                raise NeverRanError(f"{self.id} was ended before it ran") from error
            raise await self.explained(error) from error
        except WorkflowQueryFailedError as error:
            found = await self.look(limit)
            foreign = foreign_text(self.id, found) if found is not None else None
            raise JobsError(foreign or f"{self.id}: {name} failed: {error}") from error

    async def signal(
        self, verb: str, args: Sequence[JSON], *, request_id: str | None = None
    ) -> None:
        """Send a signal. Raises the server's own `RPCError`.

        One Temporal run takes a signal of the same `request_id` once, however often it is sent.
        """
        if request_id is None:
            await (await self.workflow()).signal(verb, args=args)
            return
        client = await self._connection.link.client()
        request = SignalWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=self.id),
            signal_name=verb,
            input=Payloads(payloads=await client.data_converter.encode(args)),
            identity=client.identity,
            request_id=request_id,
        )
        # The SDK's own call takes no request id.
        await client.workflow_service.signal_workflow_execution(request, retry=True)

    async def update(
        self, verb: str, args: Sequence[JSON], limit: TimeLimit, *, update_id: str | None = None
    ) -> Any:
        """Have something done, and get the answer.

        Raises:
            NoWorker: none answered. It may still be done.
            RPCError, WorkflowUpdateFailedError: the server's, or the instance's, own refusal.
        """
        workflow = await self.workflow()
        time = limit.for_answer
        # The SDK leaves a parameter of its overloads open.
        asked = workflow.execute_update(  # pyright: ignore[reportUnknownMemberType]
            verb, args=args, id=update_id, rpc_timeout=time
        )
        try:
            return await answered(cast("Awaitable[Any]", asked), time)
        except Unanswered as error:
            raise await self.silence(limit) from error

    @asynccontextmanager
    async def within(self, limit: TimeLimit) -> AsyncGenerator[None]:
        """Ends a call soon after its time limit: where the SDK has not, the server is to blame."""
        clock = asyncio.timeout(limit.left.total_seconds() + _SLACK)
        try:
            async with clock:
                yield
        except TimeoutError as error:
            if isinstance(error, JobsError) or not clock.expired():
                raise
            raise TemporalUnreachable(
                f"{self.id}: Temporal did not answer within {limit}; the call may still take effect"
            ) from error

    async def silence(self, limit: TimeLimit) -> JobsError:
        """What it means that no answer came: no worker, no server, or another workflow."""
        found = await self.look(limit)
        if found is not None and (foreign := foreign_text(self.id, found)) is not None:
            return JobsError(foreign)
        queue = self._connection.task_queue if found is None else found.task_queue
        return NoWorker(
            f"{self.id}: no worker answered within {limit}; "
            f"does one run for the task queue {queue!r}?"
        )

    async def explained(self, error: RPCError) -> Exception:
        """An error of the server's in our words, or itself where it says enough."""
        return explained(await self._connection.link.client(), self.id, error)


def explained(client: Client, what: str, error: RPCError) -> Exception:
    """An error of the server's in our words, or itself where it says enough.

    `what` was asked for: an instance's ID, or words.
    """
    if error.status == RPCStatusCode.RESOURCE_EXHAUSTED or run_is_full(error):
        return Busy(
            f"{what} takes no more at the moment ({error.message}); "
            "nothing accepted is lost, try again later"
        )
    if error.status in (RPCStatusCode.UNAVAILABLE, *_SILENT):
        return TemporalUnreachable(
            f"{what}: Temporal does not answer at {target_of(client)} ({error.message})"
        )
    if _lacks_namespace(error):
        return JobsError(
            f"{what}: Temporal at {target_of(client)} has no namespace {client.namespace!r}"
        )
    return error


async def answered(call: Awaitable[_T], time: timedelta) -> _T:
    """A worker's answer, within a time: the SDK would ask again beyond its own time limit.

    Raises:
        Unanswered: none came.
        UnreadableAnswer: this client lacks the payload codec.
    """
    try:
        async with asyncio.timeout(time.total_seconds()):
            return await call
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        # The SDK makes one error of a time limit that passed and of a caller that is cancelled.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from error
        raise Unanswered("no answer in time") from error
    except KeyError as error:
        # So the SDK says that it knows no such encoding.
        raise UnreadableAnswer(
            f"the answer has an encoding that cannot be read here ({error.args[0]}); "
            "ask with a client that has the payload codec"
        ) from error
    except RPCError as error:
        if is_silence(error):
            raise Unanswered("no answer in time") from error
        raise


def heard(start: WithStartWorkflowOperation[Any, Any]) -> None:
    """Take note of the error that an update-with-start keeps for whoever asks for its workflow.

    Nobody does, and the event loop would log it as never retrieved.
    """
    waiting = start.workflow_handle()
    try:
        waiting.send(None)
    except BaseException:
        return
    finally:
        waiting.close()


def is_missing(error: RPCError) -> bool:
    """Whether the server knows no such instance, or none that is alive."""
    return error.status == RPCStatusCode.NOT_FOUND and not _lacks_namespace(error)


def is_silence(error: RPCError) -> bool:
    """Whether no worker answered; without any, the server says so at once."""
    return error.status in _SILENT or "no poller" in error.message


def _lacks_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return any(each.type_url.endswith("NamespaceNotFoundFailure") for each in details)
