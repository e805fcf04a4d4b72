"""Whether a Temporal server answers for a namespace."""

from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from .ports import listens

_PATIENCE = timedelta(seconds=2)


async def answers(target: str, namespace: str) -> bool:
    """One try. `target` is `127.0.0.1:PORT`."""
    # The SDK retries a refused connection by itself, more slowly than a starting server needs.
    if not listens(int(target.rpartition(":")[2])):
        return False
    try:
        client = await Client.connect(target, connect_timeout=_PATIENCE)
        request = DescribeNamespaceRequest(namespace=namespace)
        await client.workflow_service.describe_namespace(request, timeout=_PATIENCE)
    except (RuntimeError, RPCError):
        return False
    return True
