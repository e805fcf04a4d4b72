"""Drives callers and reads the clock, the same way for each system."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

PATIENCE = 120.0
"""Seconds to wait for what was accepted to be done, before it counts as lost."""

WARM_UP = 2.0
"""Seconds after which callers that began at once have spread out."""

Call = Callable[[int], Awaitable[object]]
"""Makes the call of a number, and returns once it is answered."""


class Lost(Exception):
    """Something that was accepted was not done."""


@dataclass
class Board:
    """What ran, noted by the handlers themselves."""

    runs: int = 0
    done: Counter[str] = field(default_factory=Counter[str])
    """Events by key."""

    late: list[float] = field(default_factory=list[float])
    """Seconds between when a run was due and when it began."""

    _waiting: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    def note(self, key: str, events: int = 1, due: datetime | None = None) -> None:
        """A run of `events` events began."""
        if due is not None:
            self.late.append(time.time() - due.timestamp())
        self.runs += 1
        self.done[key] += events
        if (waiting := self._waiting.pop(key, None)) is not None:
            waiting.set()

    async def next_run(self, key: str) -> None:
        """Wait until the key runs again."""
        await self._waiting.setdefault(key, asyncio.Event()).wait()

    async def until(self, what: str, wanted: Callable[[], bool]) -> None:
        """Wait for what must come; raises `Lost` where it does not."""
        deadline = time.monotonic() + PATIENCE
        while not wanted():
            if time.monotonic() > deadline:
                raise Lost(f"{what}: {self.done.total()} events in {self.runs} runs")
            await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, as `time.perf_counter` tells it."""

    began: float
    ended: float

    @classmethod
    def since(cls, began: float) -> "Span":
        """Until now."""
        return cls(began, time.perf_counter())

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended - self.began

    def __contains__(self, moment: float) -> bool:
        return self.began <= moment <= self.ended


@dataclass
class Calls:
    """The calls of one turn: how many, how long each took."""

    took: list[float] = field(default_factory=list[float])
    span: Span = Span(0.0, 0.0)
    """From the first call's start to the last one's answer, if not set before."""

    async def timed(self, call: Awaitable[object]) -> None:
        """Wait for a call and note how long it took."""
        began = time.perf_counter()
        await call
        ended = time.perf_counter()
        if not self.span.seconds or ended in self.span:
            self.took.append(ended - began)


async def all_the_time(call: Call, callers: int, seconds: float) -> Calls:
    """Callers that make one call after the other, for a time."""
    calls, start = Calls(), time.perf_counter()
    await _call_until(start + seconds, call, callers, calls)
    calls.span = Span.since(start)
    return calls


async def lasting(call: Call, callers: int, seconds: float) -> Calls:
    """The same amid a load that lasts: how it begins and how it ends does not count."""
    start = time.perf_counter() + WARM_UP
    calls = Calls(span=Span(start, start + seconds))
    await _call_until(calls.span.ended, call, callers, calls)
    return calls


async def _call_until(end: float, call: Call, callers: int, calls: Calls) -> None:
    number = 0

    async def caller() -> None:
        nonlocal number
        while time.perf_counter() < end:
            number += 1
            await calls.timed(call(number))

    await asyncio.gather(*(caller() for _ in range(callers)))


async def at_a_rate(call: Call, a_second: float, seconds: float) -> Calls:
    """Calls at fixed times, whether or not those before were answered."""
    calls = Calls()
    start = time.perf_counter()
    under_way: list[asyncio.Task[None]] = []
    for number in range(round(a_second * seconds)):
        await asyncio.sleep(start + number / a_second - time.perf_counter())
        under_way.append(asyncio.create_task(calls.timed(call(number))))
    await asyncio.gather(*under_way)
    calls.span = Span.since(start)
    return calls


def part(values: list[float], share: float) -> float:
    """A percentile."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def ms(values: list[float], share: float) -> float | None:
    """A percentile of seconds, in milliseconds."""
    return round(part(values, share) * 1000, 2) if values else None
