"""A Temporal client whose calls stay in this process."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import uuid4

from temporalio.api.failure.v1 import Failure
from temporalio.api.update.v1 import Outcome
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import (
    CancelWorkflowInput,
    Client,
    DescribeWorkflowInput,
    HeartbeatAsyncActivityInput,
    Interceptor,
    ListWorkflowsInput,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    StartWorkflowUpdateWithStartInput,
    WorkflowExecutionAsyncIterator,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from temporalio.common import RawValue, WorkflowIDConflictPolicy
from temporalio.exceptions import FailureError
from temporalio.service import RPCError, RPCStatusCode

from durable_jobs.handles.visible import never_look
from durable_jobs.names import JOB_PAUSE_WORKFLOW, SIMULATED
from durable_jobs.values import JSON
from durable_jobs.wire import from_raw, to_raw

_NEEDS_A_SERVER = "it takes a server, such as that of the fixture live_jobs"


class Service(ABC):
    """Takes the calls of a client: those that handles of a `JobClient` make."""

    @abstractmethod
    async def start(
        self,
        workflow_id: str,
        argument: JSON,
        *,
        signal: tuple[str, Sequence[RawValue]] | None,
        fails_if_alive: bool,
    ) -> str:
        """Start an instance, or find it alive, and signal it. Returns the ID of its run."""

    @abstractmethod
    async def signal(self, workflow_id: str, name: str, args: Sequence[RawValue]) -> None:
        """Signal an instance that is alive."""

    @abstractmethod
    async def update(
        self,
        workflow_id: str,
        name: str,
        args: Sequence[RawValue],
        update_id: str,
        start: JSON = None,
    ) -> JSON:
        """Update an instance, which is started first where `start` is given and none is alive."""

    @abstractmethod
    async def query(self, workflow_id: str, name: str) -> JSON:
        """Ask an instance, alive or not."""

    @abstractmethod
    async def describe(self, workflow_id: str) -> "Described":
        """What a server itself would know of an instance."""

    @abstractmethod
    async def heartbeat(self, token: bytes, mark: Any) -> None:
        """An attempt says what it has reached."""


@dataclass(frozen=True)
class Described:
    """The part of a `WorkflowExecutionDescription` that handles read."""

    id: str
    workflow_type: str
    status: WorkflowExecutionStatus
    start_time: datetime
    task_queue: str
    raw_description: DescribeWorkflowExecutionResponse


def not_found(workflow_id: str) -> RPCError:
    """The server's error where no such workflow is alive."""
    return RPCError(f"workflow not found for ID: {workflow_id}", RPCStatusCode.NOT_FOUND, b"")


def _refused(what: str) -> RPCError:
    text = f"{what} in a simulation: {_NEEDS_A_SERVER}"
    return RPCError(text, RPCStatusCode.UNIMPLEMENTED, b"")


async def client_of(service: Service, keeps: object = None) -> Client:
    """A client whose calls the service takes. As long as it lives, so does what it `keeps`."""
    client = await Client.connect(SIMULATED, lazy=True, interceptors=[_ToService(service, keeps)])
    never_look(client)
    return client


class _ToService(Interceptor):
    def __init__(self, service: Service, keeps: object) -> None:
        self._service = service
        self._keeps = keeps

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002
        """See base class."""
        return _Calls(next, self._service)


class _Calls(OutboundInterceptor):
    """What else a client can do would be sent to an address at which nothing answers."""

    def __init__(self, next: OutboundInterceptor, service: Service) -> None:  # noqa: A002
        super().__init__(next)
        self._service = service
        self._client: Client | None = None

    async def _made(self) -> Client:
        """A client for what calls give back."""
        if self._client is None:
            self._client = await client_of(self._service)
        return self._client

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        """See base class."""
        if input.workflow == JOB_PAUSE_WORKFLOW:
            raise _refused("no whole job is paused")
        signal = (input.start_signal, raw_args(input.start_signal_args))
        fails = input.id_conflict_policy == WorkflowIDConflictPolicy.FAIL
        run_id = await self._service.start(
            input.id,
            _only(input.args),
            signal=cast("tuple[str, list[RawValue]]", signal) if input.start_signal else None,
            fails_if_alive=fails,
        )
        client = await self._made()
        return WorkflowHandle(client, input.id, result_run_id=run_id)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002
        """See base class."""
        await self._service.signal(input.id, input.signal, raw_args(input.args))

    async def start_workflow_update(
        self,
        input: StartWorkflowUpdateInput,  # noqa: A002
    ) -> WorkflowUpdateHandle[Any]:
        """See base class."""
        return await self._updated(input.id, input.update, input.args, input.update_id)

    async def start_update_with_start_workflow(
        self,
        input: StartWorkflowUpdateWithStartInput,  # noqa: A002
    ) -> WorkflowUpdateHandle[Any]:
        """See base class."""
        update, start = input.update_workflow_input, input.start_workflow_input
        argument = _only(start.args)
        return await self._updated(start.id, update.update, update.args, update.update_id, argument)

    async def _updated(
        self,
        workflow_id: str,
        name: str,
        args: Sequence[Any],
        update_id: str | None,
        start: JSON = None,
    ) -> WorkflowUpdateHandle[Any]:
        client = await self._made()
        update_id = update_id or str(uuid4())
        try:
            answer = await self._service.update(workflow_id, name, raw_args(args), update_id, start)
        except FailureError as error:
            failure = Failure()
            await client.data_converter.encode_failure(error, failure)
            outcome = Outcome(failure=failure)
        else:
            outcome = Outcome()
            outcome.success.payloads.append(to_raw(answer).payload)
        return WorkflowUpdateHandle(client, update_id, workflow_id, known_outcome=outcome)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002
        """See base class."""
        return await self._service.query(input.id, input.query)

    async def describe_workflow(
        self,
        input: DescribeWorkflowInput,  # noqa: A002
    ) -> WorkflowExecutionDescription:
        """See base class."""
        return cast("WorkflowExecutionDescription", await self._service.describe(input.id))

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:  # noqa: A002
        """See base class. A cancel is a `terminate`."""
        await self._service.signal(input.id, "terminate", [to_raw("cancelled")])

    def list_workflows(self, input: ListWorkflowsInput) -> WorkflowExecutionAsyncIterator:  # noqa: A002
        """See base class."""
        raise _refused("no instances are listed")

    async def heartbeat_async_activity(self, input: HeartbeatAsyncActivityInput) -> None:  # noqa: A002
        """See base class."""
        token = cast("bytes", input.id_or_token)
        await self._service.heartbeat(token, input.details[0])


def raw_args(args: Sequence[Any]) -> list[RawValue]:
    """Arguments as they come over the wire."""
    return [each if isinstance(each, RawValue) else to_raw(each) for each in args]


def _only(args: Sequence[Any]) -> JSON:
    [argument] = raw_args(args)
    return from_raw(argument)
