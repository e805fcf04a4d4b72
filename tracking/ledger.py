"""What became of each event, and who waits to hear of it."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an event for good. `reason` is None where it was delivered."""

    outcome: Literal["delivered", "rejected", "dropped"]
    reason: str | None = None


@dataclass(slots=True)
class Counters:
    """What a courier did since it was made, in events, except `requests`.

    `retried` counts events that had to be sent again, `overflowed` those not taken in for lack of
    room; they may come again and are counted each time.
    """

    submitted: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    retried: int = 0
    overflowed: int = 0
    requests: int = 0

    def count(self, verdict: Verdict) -> None:
        """Add one event with this verdict."""
        setattr(self, verdict.outcome, getattr(self, verdict.outcome) + 1)


class Waiter:
    """One caller waiting for the verdicts on some events."""

    def __init__(self, missing: set[str]) -> None:
        self._missing = missing
        self._done = asyncio.get_running_loop().create_future()

    def heard(self, event_id: str) -> None:
        """One of its events has a verdict."""
        self._missing.discard(event_id)
        if not self._missing:
            self.release()

    def release(self) -> None:
        """Let it go with what is known."""
        if not self._done.done():
            self._done.set_result(None)

    async def wait(self, within: timedelta) -> None:
        """Until nothing is missing, it is released, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await self._done


class Ledger:
    """Remembers the latest verdicts, at most `size` of them, and tells the waiters."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._verdicts: OrderedDict[str, Verdict] = OrderedDict()
        self._waiters: dict[str, set[Waiter]] = {}

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._verdicts

    def known(self, ids: Iterable[str]) -> dict[str, Verdict]:
        """The verdicts that are remembered, in the order of the ids."""
        found: dict[str, Verdict] = {}
        for event_id in ids:
            if verdict := self._verdicts.get(event_id):
                self._verdicts.move_to_end(event_id)
                found[event_id] = verdict
        return found

    def write(self, event_id: str, verdict: Verdict) -> None:
        """Remember a verdict, forget the oldest one if there are too many."""
        self._verdicts[event_id] = verdict
        if len(self._verdicts) > self._size:
            self._verdicts.popitem(last=False)
        for waiter in self._waiters.get(event_id, ()):
            waiter.heard(event_id)

    async def wait(self, ids: set[str], within: timedelta) -> None:
        """Wait for verdicts on all ids; `release` ends it early."""
        waiter = Waiter(set(ids))
        for event_id in ids:
            self._waiters.setdefault(event_id, set()).add(waiter)
        try:
            await waiter.wait(within)
        finally:
            self._leave(waiter, ids)

    def release(self) -> None:
        """Let everybody who waits go, with what is known."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.release()

    def _leave(self, waiter: Waiter, ids: set[str]) -> None:
        for event_id in ids:
            waiters = self._waiters[event_id]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[event_id]
