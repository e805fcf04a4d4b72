"""Signs of life: a collector that asks for them hears from a worker that has nothing to tell.

Asked for by a header of its answers, so that a collector which knows nothing of it gets none.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

ASKED = "durable-jobs-sign-every"
"""In an answer: after so many seconds without a request, one with no event is wanted."""

NAMED = "durable-jobs-worker"
"""In a request: which worker it comes from."""

_LEAST, _MOST = 5, 3_600


class Signs:
    """Calls `send` whenever so long has passed since the last request, once it was asked for."""

    def __init__(self, send: Callable[[], Awaitable[None]]) -> None:
        self._send = send
        self._every: int | None = None
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What requests say of their worker, as Temporal's own identity does."""
        if self._every is None:
            return {}
        return {NAMED: f"{os.getpid()}@{socket.gethostname()}"}

    def note(self, asked: str | None) -> None:
        """A request was answered, with that wish."""
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        self._every = _seconds(asked)
        if self._every is None:
            self.stop()
        elif self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._tell())

    def stop(self) -> None:
        """Tell nothing more."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()

    async def _tell(self) -> None:
        while self._every is not None:
            wait = self._last + self._every - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            self._last = asyncio.get_running_loop().time()
            await self._send()


def _seconds(asked: str | None) -> int | None:
    if asked is None or not (asked.isascii() and asked.isdigit() and len(asked) < 6):
        return None
    return min(max(int(asked), _LEAST), _MOST)
