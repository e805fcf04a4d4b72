"""The rule of ticks: when each of them runs, when it is late, and when it is missed.

A tick has a due time, and an own time: the due time plus the delay that jitter gives it. It runs at
its own time or, where that cannot be, as soon as it can: it is late. Once its successor's own time
has come, it is missed.

Nothing here reads a clock, draws a random number or knows a time zone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

from .questions import NextDue, NextDueRequest

_INSTANT = timedelta.resolution
_MOST_OF_A_GAP = 0.9


class DueTimes(Protocol):
    """The due times of a schedule."""

    def after(self, moment: datetime) -> datetime:
        """The first one after a moment."""
        ...

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """The last one after one moment and not after another; None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Grid:
    """The due times of a fixed interval: `anchor + n * interval`, free of drift."""

    anchor: datetime
    interval: timedelta

    # Timedeltas count whole microseconds. With floats, one step in a hundred would come twice or
    # be left out.

    def after(self, moment: datetime) -> datetime:
        """See `DueTimes`."""
        return self._step((moment - self.anchor) // self.interval + 1)

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """See `DueTimes`."""
        found = self._step((until - self.anchor) // self.interval)
        return found if found > after else None

    def _step(self, number: int) -> datetime:
        return self.anchor + self.interval * number


def delay_of(times: DueTimes, due: datetime, jitter: float, seed: str) -> timedelta:
    """How much later than its due time a tick runs: up to `jitter` seconds.

    The delay follows from the seed and the due time alone. It takes at most nine tenths of the time
    to the successor's due time: so own times keep their order, with room for a tick to begin.
    """
    if jitter <= 0:
        return timedelta()
    room = min(timedelta(seconds=jitter), (times.after(due) - due) * _MOST_OF_A_GAP)
    return room * _share(f"{seed} {due.astimezone(UTC).isoformat()}")


def _share(text: str) -> float:
    """A number from 0 up to 1 that looks random."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64


def find_next(times: DueTimes, request: NextDueRequest) -> NextDue:
    """Answer a request, but for a rule that is to be judged."""
    passed = _last_come(times, request, request.now) if request.now is not None else None
    at = times.after(passed or request.after)
    found = NextDue(at=at, delay=_delay(times, at, request).total_seconds())
    if passed is not None and request.until is not None and passed > request.until:
        passed = times.last(request.after, request.until)
    if passed is None:
        return found
    first = times.after(request.after)
    return found.model_copy(update={"first_missed": first, "last_missed": passed})


def _last_come(times: DueTimes, request: NextDueRequest, now: datetime) -> datetime | None:
    """The last due time after the request's tick whose own time has come."""
    last = times.last(request.after, now)
    if last is not None and last + _delay(times, last, request) > now:
        # The own time of the one before is at the latest this due time, which has come.
        return times.last(request.after, last - _INSTANT)
    return last


def _delay(times: DueTimes, due: datetime, request: NextDueRequest) -> timedelta:
    return delay_of(times, due, request.rule.jitter, request.seed)
