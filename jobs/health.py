"""Health of a worker over HTTP: `/livez` and `/readyz`, for those who start and stop workers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from time import monotonic

from temporalio.client import Client
from temporalio.service import RPCError

from .connection import pollers, reachable
from .errors import InvalidSettings
from .telemetry import host_and_port

# A poll waits up to a minute, and the server notes when it began.
_LATELY = 120.0  # seconds
_READ_WITHIN = 2.0  # seconds
_MAX_REQUEST = 8 * 1024  # bytes
_MAX_CONNECTIONS = 32


@dataclass
class Health:
    """What is known of a worker. Only `/readyz` tells of it: `/livez` says that its loop runs."""

    stopping: bool = False
    answers: bool = False
    """Whether Temporal answered when it was last asked."""

    _last_poll: datetime | None = field(default=None, init=False)
    _noticed: float = field(default=0.0, init=False)

    def note_poll(self, last: datetime | None) -> None:
        """Note when the worker last polled, by the server's clock, which need not be ours."""
        if last is not None and last != self._last_poll:
            self._last_poll, self._noticed = last, monotonic()

    @property
    def polls(self) -> bool:
        """Whether the server has lately seen this worker poll."""
        return self._last_poll is not None and monotonic() - self._noticed < _LATELY

    def problem(self) -> str | None:
        """Why the worker takes no work, None where it does."""
        if self.stopping:
            return "the worker is stopping"
        if not self.answers:
            return "Temporal does not answer"
        return None if self.polls else "the server has not lately seen this worker poll"

    async def ask(self, client: Client, task_queue: str) -> bool:
        """Ask Temporal whether this worker polls. Gives whether it answered."""
        try:
            seen = await pollers(client, task_queue)
        except RPCError:
            # Another answer than this one is an answer too.
            self.answers = await reachable(client)
            return self.answers
        self.answers = True
        own = [each for each in seen if each.identity == client.identity]
        self.note_poll(max((each.last_access_time.ToDatetime() for each in own), default=None))
        return True


@asynccontextmanager
async def serving_health(address: str, health: Health) -> AsyncGenerator[None]:
    """Answer at `host:port` until the end of the block.

    Raises InvalidSettings where the address is wrong or taken.
    """
    answering: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        try:
            if len(answering) <= _MAX_CONNECTIONS:
                await _answer(reader, writer, health)
        finally:
            answering.discard(task)
            writer.close()

    try:
        host, port = host_and_port(address)
        server = await asyncio.start_server(connected, host, port, limit=_MAX_REQUEST)
    except (OSError, ValueError, OverflowError) as error:
        raise InvalidSettings(
            f"Health cannot be served at {address!r} ({error}); "
            "expected is a free address such as 127.0.0.1:8080"
        ) from error
    try:
        yield
    finally:
        server.close()
        for task in answering:
            task.cancel()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, health: Health
) -> None:
    broken = (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
    with contextlib.suppress(*broken):
        async with asyncio.timeout(_READ_WITHIN):
            request = await reader.readuntil(b"\r\n\r\n")
            writer.write(response(request.partition(b"\r\n")[0], health))
            await writer.drain()


def response(request_line: bytes, health: Health) -> bytes:
    """The answer to the first line of a request."""
    method, _, rest = request_line.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path not in (b"/livez", b"/readyz"):
        return _written(HTTPStatus.NOT_FOUND, "see /livez and /readyz")
    if method != b"GET":
        return _written(HTTPStatus.METHOD_NOT_ALLOWED, "ask with GET", "Allow: GET\r\n")
    problem = health.problem() if path == b"/readyz" else None
    if problem is not None:
        return _written(HTTPStatus.SERVICE_UNAVAILABLE, problem)
    return _written(HTTPStatus.OK, "ok")


def _written(status: HTTPStatus, text: str, header: str = "") -> bytes:
    body = f"{text}\n"
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n{header}"
        f"Connection: close\r\n\r\n{body}"
    ).encode()
