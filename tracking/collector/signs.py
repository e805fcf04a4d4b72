"""Which workers have been heard of lately."""

import time
from collections.abc import Mapping

from ..sinks.signs import ASKED, NAMED

EVERY = 30  # seconds
_ALIVE = 3 * EVERY
_MOST = 1000  # workers
_LONGEST = 200  # characters of a name

ASKING: dict[str, str] = {ASKED: str(EVERY)}
"""Headers of an answer that ask a worker for signs of life."""


class Signs:
    """Remembers when each worker sent something, be it a batch without events."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._last: int | None = None

    def note(self, headers: Mapping[str, str]) -> None:
        """A worker sent something."""
        name = headers.get(NAMED, "")[:_LONGEST]
        # The latest at the end.
        self._heard.pop(name, None)
        self._heard[name] = time.monotonic()
        if len(self._heard) > _MOST:
            del self._heard[next(iter(self._heard))]
        self._last = int(time.time() * 1000)

    def summary(self, received: int | None) -> dict[str, int | None]:
        """How many are alive, and when one was heard of last, in milliseconds since 1970.

        `received` is when the last event came, which may have been before a restart.
        """
        since = time.monotonic() - _ALIVE
        alive = sum(heard >= since for heard in self._heard.values())
        lately = received is not None and received >= (time.time() - _ALIVE) * 1000
        return {"alive": alive or int(lately), "lastSeenAt": self._last or received}
