"""The one timer of an instance."""

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow

from durable_jobs.spans import LONGEST

SHORTEST = timedelta(milliseconds=1)


class Timer:
    """Wakes the instance no later than asked. One that is early is not set anew: it fires early."""

    def __init__(self) -> None:
        self._until: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    def set(self, until: datetime | None, what: str) -> None:
        """Wake at a time; None: not at all. `what` names the timer in the Temporal UI."""
        if until is None:
            self.cancel()
            return
        if self._task is not None and self._until is not None and self._until <= until:
            return
        self.cancel()
        self._until = until
        # A server counts the nanoseconds of a timer, which are soon too many. One that fires early
        # makes the machine decide once more.
        wait = min(max(until - workflow.now(), SHORTEST), LONGEST)
        self._task = asyncio.create_task(workflow.sleep(wait, summary=what or None))

    def cancel(self) -> None:
        """Wake at no time."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._until = None

    def fired(self) -> bool:
        """Whether its time has come."""
        return self._task is not None and self._task.done()

    def clear(self) -> None:
        """Forget that it fired."""
        if self.fired():
            self._task = self._until = None
