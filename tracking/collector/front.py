"""What stands before the application: who may ask, and how much at once.

Readers get few places, so that whatever they do, intake has the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.datastructures import Headers

from .answers import answer
from .hosts import Hosts

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_PIECE = 65_536  # bytes: as many as the server keeps for a connection before it waits
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class Front:
    """Answers a request that came under a foreign name, and lets the others in."""

    def __init__(self, app: Application, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        problem = self._hosts.problem(Headers(scope=scope))
        # 403 is a wrong set-up to a worker: it keeps its events, and says so.
        app: Any = answer({"error": problem}, 403) if problem else self._app
        await app(scope, receive, _guarded(send))


class Limited:
    """At most so many requests at once; the next one is told to come again."""

    def __init__(self, app: Application, most: int, what: str) -> None:
        self._app, self._most, self._what = app, most, what
        self._here = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if self._here >= self._most:
            await _busy(f"there are {self._most} {self._what} already")(scope, receive, send)
            return
        self._here += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._here -= 1


class InTurn:
    """So many requests at once, for `longest` seconds each.

    As many as `waiting` wait their turn, for `patience` seconds.
    """

    def __init__(
        self,
        app: Application,
        *,
        at_once: int,
        waiting: int = 100,
        patience: float = 10.0,
        longest: float = 60.0,
    ) -> None:
        self._app, self._places, self._waiting = app, asyncio.Semaphore(at_once), waiting
        self._patience, self._longest = patience, longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if not await self._turn():
            await _busy("others read too much")(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._longest):
                await self._app(scope, receive, _in_pieces(send))
        except TimeoutError:
            # Who reads so slowly finds its answer cut off.
            return
        finally:
            self._places.release()

    async def _turn(self) -> bool:
        """Wait for a place; False: there is none to be had soon."""
        if self._waiting == 0:
            return False
        self._waiting -= 1
        try:
            async with asyncio.timeout(self._patience):
                return await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting += 1


def _busy(why: str) -> Any:
    return answer({"error": why}, 503, {"Retry-After": "1"})


def _guarded(send: Send) -> Send:
    """Let no browser take an answer for something else than it says it is."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message.get("headers", []) if pair[0] != _NOSNIFF[0]]
            message = {**message, "headers": [*headers, _NOSNIFF]}
        await send(message)

    return guarded


def _in_pieces(send: Send) -> Send:
    """Send no more of a body than is read; the rest waits here, where it is counted."""

    async def sending(message: Message) -> None:
        body, start = message.get("body", b""), 0
        while len(body) - start > _PIECE:
            piece = body[start : start + _PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            start += _PIECE
        await send({**message, "body": body[start:]} if start else message)

    return sending
