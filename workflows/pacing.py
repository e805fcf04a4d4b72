"""Lets signals that follow one another closely share a workflow task.

The server opens a task for a signal unless one is open. A worker that answers within a millisecond
thus gets a task for each: two more requests, three more history events, and the next caller waits
behind them. As Nagle's algorithm (RFC 896) does with small packets, an answer to signals that left
nothing to do is held a little where others came just before; what comes meanwhile shares a task.
"""

import time
from collections.abc import Callable

HOLD = 0.01
"""Seconds that an answer is held, and thus what a busy instance may be late by."""

CLOSELY = 0.015
"""Seconds from an answer to the next signals within which these count as following it."""


class Pacer:
    """Paces the workflow tasks of one instance."""

    def __init__(
        self,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep = sleep
        self._now = now
        self._answered = float("-inf")

    def answer(self, *, at_once: bool) -> None:
        """Return when the answer to signals may be given."""
        if not at_once and self._now() - self._answered < CLOSELY:
            self._sleep(HOLD)
        self._answered = self._now()
