"""Bodies of requests, read within bounds of time and memory: anybody can send one."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

CLOSE = {"Connection": "close"}
"""For answers that come before the body's end."""

_SECONDS = 10.0  # GitHub waits no longer for an answer
_TURN_SECONDS = 5.0
_SMALL = 256 * 1024  # almost all of GitHub's are smaller
_LARGE_AT_ONCE = 2


class Bodies:
    """Reads bodies of at most `most` bytes, of which few large ones are in memory at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    @contextlib.asynccontextmanager
    async def reading(self, request: Request) -> AsyncGenerator[bytearray]:
        """Give a whole body, which must not be kept beyond the block.

        Raises:
            HTTPException: too large, too slow, cut off, or too many large ones at once.
        """
        self._check_declared(request)
        async with contextlib.AsyncExitStack() as turn:
            with _in_time():
                async with asyncio.timeout(_SECONDS):
                    body = await self._whole(request, turn)
            try:
                yield body
            finally:
                # Before the next one's turn, whoever still holds it.
                body.clear()

    async def discard(self, request: Request) -> None:
        """Read a body and forget it, so that who still writes gets to read the answer.

        Raises:
            HTTPException: as `reading` does.
        """
        self._check_declared(request)
        with _in_time():
            async with asyncio.timeout(_SECONDS):
                size = 0
                async for chunk in request.stream():
                    size += len(chunk)
                    self._check(size)

    async def _whole(self, request: Request, turn: contextlib.AsyncExitStack) -> bytearray:
        body = bytearray()
        waits = True
        async for chunk in request.stream():
            self._check(len(body) + len(chunk))
            if waits and len(body) + len(chunk) > _SMALL:
                await turn.enter_async_context(self._turn())
                waits = False
            body += chunk
        return body

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._large.acquire()
        except TimeoutError as error:
            later = {**CLOSE, "Retry-After": "30"}
            raise HTTPException(503, "too many large bodies at once", later) from error
        try:
            yield
        finally:
            self._large.release()

    def _check_declared(self, request: Request) -> None:
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal():
            self._check(int(declared))

    def _check(self, size: int) -> None:
        if size > self._most:
            raise HTTPException(413, f"more than {self._most} bytes", CLOSE)


@contextlib.contextmanager
def _in_time() -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise HTTPException(408, f"the body took more than {_SECONDS:g} s", CLOSE) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early") from error
