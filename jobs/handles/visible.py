"""The search attribute by which Temporal's visibility finds instances that are paused or fail.

`durable-jobs setup` creates it. A client looks for it now and then, and starts instances with it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


@dataclass
class _Known:
    """What is known of a namespace."""

    has: bool | None = None
    """None: nobody has looked to the end yet."""

    until: float = 0.0
    look: asyncio.Task[bool] | None = None


# By connection, which all clients of a worker's runs share.
_known: WeakKeyDictionary[ServiceClient, dict[str, _Known]] = WeakKeyDictionary()


def _known_of(client: Client) -> _Known:
    return _known.setdefault(client.service_client, {}).setdefault(client.namespace, _Known())


async def has_job_status(client: Client) -> bool:
    """Whether the namespace has the attribute; where the server does not say, it has none."""
    known = _known_of(client)
    if known.has is None:
        known.has = await _first_look(client, known)
    elif monotonic() >= known.until:
        # Others go by what is known meanwhile; should this look fail, for a while longer.
        known.until = monotonic() + _LOOK_EVERY
        known.has = await _look(client)
    else:
        return known.has
    known.until = monotonic() + _LOOK_EVERY
    return known.has


async def _first_look(client: Client, known: _Known) -> bool:
    """One look for all that begin at the same time; each other event loop looks by itself."""
    look, loop = known.look, asyncio.get_running_loop()
    if look is None or look.done() or look.get_loop() is not loop:
        look = known.look = asyncio.create_task(_look(client))
    # Another's cancellation is not to end it.
    return await asyncio.shield(look)


def never_look(client: Client) -> None:
    """Take it that the namespace lacks the attribute: no server is behind this client."""
    known = _known_of(client)
    known.has, known.until = False, inf


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
