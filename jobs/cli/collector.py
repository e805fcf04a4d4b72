"""A collector for development: takes tracking events and prints each on one line."""

import asyncio
import contextlib
import json
import socket
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

AsgiApp = Callable[..., Awaitable[None]]
"""What uvicorn serves; said without starlette, which is an extra."""

_REMEMBERED = 10_000  # event IDs


class _Server(uvicorn.Server):
    """Leaves signals to the command that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def collector(
    port: int | None, show: Callable[[dict[str, Any]], None]
) -> AsyncGenerator[str]:
    """Listen on 127.0.0.1, on a free port if None, and give the URL to POST events to.

    `show` gets each event once, in order of arrival. Raises OSError where the port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port or 0))
        config = uvicorn.Config(
            collector_app(show),
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/events"
        finally:
            server.should_exit = True
            await serving


def collector_app(show: Callable[[dict[str, Any]], None]) -> AsgiApp:
    """`POST /events` with `{"events": [...]}`. An event that comes again is not shown again."""
    seen: OrderedDict[str, None] = OrderedDict()

    async def take(request: Request) -> Response:
        events = _events(await request.body())
        if events is None:
            return JSONResponse({"error": 'expected is {"events": [ ... ]}'}, status_code=400)
        for event in events:
            identity = str(event.get("eventId"))
            if identity not in seen:
                seen[identity] = None
                show(event)
        while len(seen) > _REMEMBERED:
            seen.popitem(last=False)
        return JSONResponse({"rejected": []})

    return Starlette(routes=[Route("/events", take, methods=["POST"])])


def _events(body: bytes) -> list[dict[str, Any]] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    events: Any = cast("dict[str, Any]", value).get("events") if isinstance(value, dict) else None
    if not isinstance(events, list):
        return None
    listed = cast("list[object]", events)
    if not all(isinstance(event, dict) for event in listed):
        return None
    return cast("list[dict[str, Any]]", listed)
