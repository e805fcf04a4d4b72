"""The bodies of requests, never more of them in memory than is allowed."""

import asyncio
from collections.abc import AsyncIterable, Generator, Mapping
from contextlib import contextmanager

from starlette.requests import Request

from .intake import Malformed
from .store import StoreBusy

MAX_BYTES = 2_000_000
MAX_ALL_BYTES = 32 * MAX_BYTES
"""Of all bodies together, from their first byte until what is in them is on disk."""

# What is read and thrown away, so that a sender who still writes gets to read the answer.
_DISCARDED = 64_000_000
_SECONDS = 30.0


class TooLarge(Exception):
    """The body is over the limit."""


def says_json(headers: Mapping[str, str]) -> bool:
    """Whether a request says that it brings JSON.

    A browser sends that for a foreign page only if the server agrees, which this one never does.
    """
    media = headers.get("content-type", "").partition(";")[0]
    return media.strip().lower() == "application/json"


async def small_body(request: Request, most: int) -> bytes:
    """A body of a request that people make; raises Malformed where it is larger."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise Malformed(f"the body is over {most} bytes")
    return body


class Bodies:
    """The room that all bodies share."""

    def __init__(self, most: int = MAX_ALL_BYTES) -> None:
        self._left = most

    @contextmanager
    def room(self) -> "Generator[Room]":
        """Room for one body, given back at the end."""
        room = Room(self)
        try:
            yield room
        finally:
            self._left += room.size

    def take(self, size: int) -> None:
        """Take so many bytes; raises StoreBusy where they are not to be had."""
        if size > self._left:
            raise StoreBusy("too many large requests at once")
        self._left -= size


class Room:
    """What one body takes up of it."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size: int = 0

    async def read(self, parts_of_it: AsyncIterable[bytes]) -> bytes:
        """The body. Raises TooLarge, TimeoutError, StoreBusy or starlette's ClientDisconnect."""
        parts: list[bytes] = []
        size = 0
        async with asyncio.timeout(_SECONDS):
            async for part in parts_of_it:
                size += len(part)
                if size <= MAX_BYTES:
                    self._bodies.take(len(part))
                    self.size += len(part)
                    parts.append(part)
                    continue
                parts.clear()
                if size > _DISCARDED:
                    break
        if size > MAX_BYTES:
            raise TooLarge
        return b"".join(parts)
