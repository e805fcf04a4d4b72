"""Answers as JSON, and the time that the store is given for one."""

import asyncio
import functools
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import ParamSpec, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

SAFE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer."""

_STORE_SECONDS = 2.0
_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def reply(
    content: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Give an answer as JSON."""
    return JSONResponse(content, status, {**SAFE, **(headers or {})})


async def in_time(work: Callable[_P, _R], *args: _P.args, **named: _P.kwargs) -> _R:
    """Let the store do something in a thread, as it can be locked by somebody else.

    Raises:
        HTTPException: 503, if it does not get to it soon or fails.
    """
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            return await asyncio.to_thread(work, *args, **named)
    except (TimeoutError, sqlite3.Error) as error:
        _log.warning("the database cannot be used now: %s", str(error) or "it is locked")
        problem = "the database cannot be used now"
        raise HTTPException(503, problem, {"Retry-After": "5"}) from error


def endpoint(view: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Give an endpoint that answers with a view, or says soon that it cannot."""

    @functools.wraps(view)
    async def answer(request: Request) -> Response:
        return await in_time(view, request)

    return answer


async def refused(_: Request, error: Exception) -> Response:
    """Answer what an endpoint, or the lack of one, raised."""
    if not isinstance(error, HTTPException):
        raise error
    return reply({"error": error.detail}, error.status_code, error.headers)


async def broken(_: Request, error: Exception) -> Response:
    """Answer where there is a fault in the receiver; the server logs it."""
    return reply({"error": f"a fault in the receiver: {type(error).__name__}"}, 500)
