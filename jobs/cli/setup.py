"""`durable-jobs setup`."""

from datetime import timedelta

import typer
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from ..handles.visible import JOB_STATUS_TYPE
from ..names import JOB_STATUS
from .reach import FAILED, Trouble, reach

_BY_HAND = f"temporal operator search-attribute create --name {JOB_STATUS} --type KeywordList"
_MEANS = (
    "Temporal finds instances that are paused or fail by it. Those that typed clients start from "
    "now on have it; clients and workers look for it once a minute"
)


async def set_up(timeout: timedelta) -> int:
    """Create the search attribute where it is missing; gives the exit code."""
    client = await (await reach(timeout)).link.client()
    typer.echo(f"search attribute {JOB_STATUS} {await create_job_status(client)}. {_MEANS}.")
    return 0


async def create_job_status(client: Client) -> str:
    """Create the attribute; says whether it was there. Raises `Trouble` where that cannot be."""
    where = f"in the namespace {client.namespace!r}"
    try:
        known = await type_of_job_status(client)
        if known is None:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=client.namespace, search_attributes={JOB_STATUS: JOB_STATUS_TYPE}
                )
            )
            return f"is made {where}"
    except RPCError as error:
        raise Trouble(
            f"the server does not let this client create search attributes ({error.message}). "
            f"Create it as your server's operator does: {_BY_HAND}; in Temporal Cloud on the "
            "namespace's page",
            FAILED,
        ) from error
    if known != JOB_STATUS_TYPE:
        raise Trouble(f"the search attribute {JOB_STATUS} {where} {not_ours(known)}", FAILED)
    return f"is there {where}"


async def type_of_job_status(
    client: Client, timeout: timedelta | None = None
) -> IndexedValueType.ValueType | None:
    """The type of the search attribute; None where the namespace lacks it. Raises `RPCError`."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    found = await client.operator_service.list_search_attributes(request, timeout=timeout)
    return found.custom_attributes.get(JOB_STATUS)


def not_ours(known: IndexedValueType.ValueType) -> str:
    """What an attribute of another type means for lists."""
    kind = IndexedValueType.Name(known).removeprefix("INDEXED_VALUE_TYPE_")
    return (
        f"has the type {kind}, not KEYWORD_LIST, and is somebody else's; without it lists ask "
        "each instance"
    )
