"""The search attribute by which Temporal's visibility finds instances that are paused or fail.

`durable-jobs setup` creates it. A client looks for it now and then, and starts instances with it.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf
from time import monotonic
from typing import TypeVar
from weakref import WeakKeyDictionary

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client, WorkflowExecution
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from ..names import JOB_STATUS, STATUS_OK

JOB_STATUS_TYPE = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST
"""An instance can be paused and fail."""

_LOOK_EVERY = 60.0
_PATIENCE = timedelta(seconds=2)

_KEY = SearchAttributeKey.for_keyword_list(JOB_STATUS)
_AT_START = TypedSearchAttributes([SearchAttributePair(_KEY, [STATUS_OK])])

_T = TypeVar("_T")

# By connection, which all clients of a worker's runs share; with the time of the look.
_looks: WeakKeyDictionary[ServiceClient, dict[str, tuple[float, bool]]] = WeakKeyDictionary()


async def has_job_status(client: Client) -> bool:
    """Whether the namespace has the attribute; where the server does not say, it has none."""
    looks = _looks.setdefault(client.service_client, {})
    until, has = looks.get(client.namespace, (0.0, False))
    if monotonic() >= until:
        # Others need not look too; should this look fail, it has none for a while.
        looks[client.namespace] = (monotonic() + _LOOK_EVERY, has)
        has = await _look(client)
        looks[client.namespace] = (monotonic() + _LOOK_EVERY, has)
    return has


def never_look(client: Client) -> None:
    """Take it that the namespace lacks the attribute: no server is behind this client."""
    _looks.setdefault(client.service_client, {})[client.namespace] = (inf, False)


async def _look(client: Client) -> bool:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        found = await client.operator_service.list_search_attributes(request, timeout=_PATIENCE)
    except RPCError:
        return False
    return found.custom_attributes.get(JOB_STATUS) == JOB_STATUS_TYPE


def words_of(found: WorkflowExecution) -> tuple[str, ...] | None:
    """What the attribute of an instance says; None where it has none."""
    words = found.typed_search_attributes.get(_KEY)
    return None if words is None else tuple(words)


async def with_job_status(
    client: Client, start: Callable[[TypedSearchAttributes | None], Awaitable[_T]]
) -> _T:
    """Start something with the attribute, or without it where the server has none.

    One that was just created, or has just gone, may not be known to the whole server.
    """
    if not await has_job_status(client):
        return await start(None)
    try:
        return await start(_AT_START)
    except RPCError as error:
        if error.status != RPCStatusCode.INVALID_ARGUMENT or JOB_STATUS not in error.message:
            raise
    return await start(None)
