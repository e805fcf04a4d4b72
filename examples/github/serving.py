"""The server's bounds: how many connections there are, and how long each may take for a request."""

import asyncio
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol


class ImpatientProtocol(H11Protocol):
    """Drops a connection whose next request does not begin, or does not end, in time.

    Where there are too many, the one goes that has waited longest for a request. Who sends a whole
    request at once is never that one.
    """

    most = 200
    """So many connections stay open."""
    head_seconds = 10.0
    """How long one may take to begin a request, whole with its headers."""
    request_seconds = 30.0
    """How long it may take from there until it has the answer."""

    def __init__(self, *args: Any, app_state: dict[str, Any], **options: Any) -> None:
        # The server gives this state to the application with each request.
        super().__init__(*args, app_state={**app_state, "connection": self}, **options)
        self._timer: asyncio.TimerHandle | None = None
        self.waits = True
        """Whether no request is under way."""

    @property
    def due(self) -> float:
        """When it will be dropped, on the loop's clock."""
        return self._timer.when() if self._timer else 0.0

    def begun(self) -> None:
        """Note that a request has come."""
        self.waits = False
        self._within(self.request_seconds)

    def ended(self) -> None:
        """Note that the request is answered."""
        self.waits = True
        self._within(self.head_seconds)

    def drop(self) -> None:
        """Break the connection."""
        self.waits = False  # it counts no more, though its end comes a moment later
        # Not `close`, which waits until what was written is read.
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.ended()
        if len(self.connections) > self.most:
            connections = cast("set[ImpatientProtocol]", self.connections)
            waiting = [connection for connection in connections if connection.waits]
            min(waiting, key=lambda connection: connection.due).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        if self._timer:
            self._timer.cancel()
        self._timer = None
        super().connection_lost(exc)

    def _within(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.drop)


class TellingConnection:
    """An application around another that tells the connection of the beginning and end of each."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        connection = scope.get("state", {}).get("connection")
        if not isinstance(connection, ImpatientProtocol):
            await self._app(scope, receive, send)
            return
        connection.begun()
        try:
            await self._app(scope, receive, send)
        finally:
            connection.ended()


def config(
    app: ASGIApp, host: str, port: int, protocol: type[ImpatientProtocol] = ImpatientProtocol
) -> uvicorn.Config:
    """Give the configuration of a server with the bounds of `protocol`."""
    return uvicorn.Config(
        TellingConnection(app),
        host=host,
        port=port,
        http=protocol,
        ws="none",
        access_log=False,
        server_header=False,
        backlog=128,
        timeout_graceful_shutdown=10,
    )
