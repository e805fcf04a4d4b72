"""What each event loop has its own of."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One value for each event loop that uses it, in whatever thread that loop runs.

    Futures, tasks and locks belong to one loop: another loop that waits for them never wakes up,
    and a loop that was closed never finishes them.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # Threads share it without a lock: each touches the entry of its own loop alone.
        self._values: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The value of the running loop, made at its first use."""
        loop = asyncio.get_running_loop()
        value = self._values.get(loop)
        if value is not None:
            return value
        for other in list(self._values):
            if other.is_closed():
                self._values.pop(other, None)
        return self._values.setdefault(loop, self._make())
