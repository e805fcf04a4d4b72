"""The way to Temporal that all handles of a `JobClient` share."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol, TypeVar

from temporalio.client import Client

from .errors import JobsError
from .loops import PerLoop

Connect = Callable[[], Awaitable[Client]]
"""An async function that connects a Temporal client."""

NO_FORK = (
    "Temporal's SDK was running when this process was forked, and it does not survive that. Make "
    "no call before the fork: JobClient.connect(lazy=True) connects with the first call, after it."
)


class Link:
    """A Temporal client for every event loop and thread of one process.

    Given at once, or connected when it is first used.
    """

    def __init__(self, client: Client | None, connect: Connect | None = None) -> None:
        self._client = client
        self._connect = connect
        self._attempts = PerLoop(_Attempt)
        self._process = os.getpid()
        self._closed = False

    async def client(self) -> Client:
        """The client.

        Raises:
            TemporalUnreachable: it is to connect now, and nothing answered.
            JobsError: it was closed, or connected before this process was forked.
        """
        if self._closed:
            raise JobsError("This JobClient is closed. Make another one: JobClient.connect().")
        if self._client is not None and self._process != os.getpid():
            raise JobsError(NO_FORK)
        if self._client is None:
            assert self._connect is not None
            client = await self._attempts.get().made(self._connect)
            # Loops that connect at the same time go on with the first one's.
            self._client, self._process = self._client or client, os.getpid()
        return self._client

    def close(self) -> None:
        """Let go of the client: the connection ends with its last user."""
        self._closed = True
        self._client = None


class _Attempt:
    """Connects once for all callers of one event loop who wait for it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Client] | None = None

    async def made(self, connect: Connect) -> Client:
        if self._task is None:
            self._task = asyncio.ensure_future(connect())
            self._task.add_done_callback(self._over)
        # A caller that is cancelled hurts no other.
        return await asyncio.shield(self._task)

    def _over(self, task: asyncio.Task[Client]) -> None:
        self._task = None
        if not task.cancelled():
            # It may be that nobody waits for it any more.
            task.exception()


class Closable(Protocol):
    """What ends with its block."""

    async def close(self) -> None:
        """Release what it holds."""
        ...


C = TypeVar("C", bound=Closable)


class Connecting(Coroutine[Any, Any, C], AbstractAsyncContextManager[C]):
    """What `connect()` gives: await it, or use it by `async with`, which closes it at the end."""

    def __init__(self, made: Coroutine[Any, Any, C]) -> None:
        self._made = made
        self._value: C | None = None

    def __await__(self) -> Generator[Any, Any, C]:
        return self._made.__await__()

    def send(self, value: Any) -> Any:
        """As a coroutine's, for `asyncio.create_task` and its like."""
        return self._made.send(value)

    def throw(self, *error: Any) -> Any:
        """As a coroutine's."""
        return self._made.throw(*error)

    def close(self) -> None:
        """As a coroutine's."""
        self._made.close()

    async def __aenter__(self) -> C:
        self._value = await self._made
        return self._value

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._value is not None:
            await self._value.close()
