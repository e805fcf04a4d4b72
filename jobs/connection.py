"""The connection to Temporal, set up by Temporal's own environment variables and profile file."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    GetSystemInfoRequest,
)
from temporalio.client import Client
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from .arguments import check_time
from .errors import InvalidSettings, JobsError, TemporalUnreachable
from .exits import note_runtime
from .link import NO_FORK

DEFAULT_ADDRESS = "127.0.0.1:7233"


def connection_config() -> ClientConnectConfig:
    """The arguments of `Client.connect` from TEMPORAL_* and the profile file.

    The address is 127.0.0.1:7233 where none is set. Raises InvalidSettings where they cannot be
    read.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError, OSError) as error:
        raise InvalidSettings(f"The Temporal settings cannot be read: {error}") from error
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return config


async def connect(
    *,
    address: str | None = None,
    namespace: str | None = None,
    runtime: Runtime | None = None,
    timeout: timedelta = timedelta(seconds=10),
) -> Client:
    """A client for the configured server, or for `address` and `namespace` where given.

    Raises TemporalUnreachable, naming the address, when nothing answers within `timeout`.
    """
    check_time(timeout, "connect: timeout")
    config = connection_config()
    target = address or config.get("target_host", DEFAULT_ADDRESS)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            connecting = partial(
                Client.connect,
                target,
                namespace=namespace or config.get("namespace", "default"),
                api_key=config.get("api_key"),
                tls=config.get("tls"),
                rpc_metadata=config.get("rpc_metadata", {}),
                runtime=runtime,
            )
            default = runtime is None
            client = await (unless_forked(connecting) if default else connecting())
    except (TimeoutError, RuntimeError, RPCError, ValueError) as error:
        raise TemporalUnreachable(_unreachable(target, timeout, error)) from error
    note_runtime(client)
    return client


async def unless_forked(connecting: Callable[[], Awaitable[Client]]) -> Client:
    """Connect a client on the default runtime.

    Another runtime beside one of a parent's ends in crashes: the SDK's library keeps pointers to
    the threads of the parent, which are not there.

    Raises:
        JobsError: the runtime is that of the process which this one was forked from.
    """
    try:
        return await connecting()
    except AssertionError as error:
        raise JobsError(NO_FORK) from error


def target_of(client: Client) -> str:
    """The address a client talks to."""
    return client.service_client.config.target_host


async def reachable(client: Client, timeout: timedelta = timedelta(seconds=3)) -> bool:
    """Whether the server answers now."""
    try:
        await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=timeout)
    except RPCError:
        return False
    return True


async def pollers(
    client: Client,
    task_queue: str,
    kind: TaskQueueType.ValueType = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    timeout: timedelta = timedelta(seconds=3),
) -> Sequence[PollerInfo]:
    """Who has polled a task queue within the last minutes. Raises `RPCError`."""
    return (await described_queue(client, task_queue, kind, timeout)).pollers


async def described_queue(
    client: Client, task_queue: str, kind: TaskQueueType.ValueType, timeout: timedelta
) -> DescribeTaskQueueResponse:
    """Who polls a task queue, and which version gets its tasks. Raises `RPCError`."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
    )
    return await client.workflow_service.describe_task_queue(request, timeout=timeout)


def _unreachable(target: str, timeout: timedelta, error: Exception) -> str:
    seconds = f"{timeout.total_seconds():g} s"
    reason = f"no answer within {seconds}" if isinstance(error, TimeoutError) else _plain(error)
    return (
        f"Temporal does not answer at {target} ({reason}). Start a server there, for example with "
        "`durable-jobs dev`, or set TEMPORAL_ADDRESS to one that runs."
    )


def _plain(error: Exception) -> str:
    """The words in the SDK's debug output of nested errors."""
    words = re.findall(r'(?:message|error): "([^"]+)"', str(error))
    return words[-1] if words else str(error)
