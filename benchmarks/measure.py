"""Drives callers and reads the clock, the same way for each system."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

WAIT = 0.5
"""Seconds from an event to its flush, in every system."""

Add = Callable[[str, int], Awaitable[None]]


@dataclass
class Board:
    """What was flushed, and when."""

    flushed: dict[str, int] = field(default_factory=dict[str, int])
    first_flush: dict[str, float] = field(default_factory=dict[str, float])
    windows: int = 0

    def note(self, key: str, count: int) -> None:
        """A window of `count` events was executed."""
        self.windows += 1
        self.flushed[key] = self.flushed.get(key, 0) + count
        self.first_flush.setdefault(key, time.time())


class System(Protocol):
    """One of those compared."""

    name: str
    board: Board
    keeps_all: bool
    """Whether a flush is given all events, or the last one alone."""

    async def add(self, key: str, number: int) -> None:
        """Add an event; returns once it is durable."""
        ...

    async def history_of(self, key: str) -> int | None:
        """History events that the key's last window left; None where there is no history."""
        ...


@dataclass(frozen=True)
class Figures:
    """What one system did in one scene."""

    scene: str
    system: str
    callers: int
    adds: int
    adds_per_second: float
    windows: int
    windows_per_second: float
    add_p50_ms: float
    add_p99_ms: float
    flush_late_p50_ms: float | None
    flush_late_p99_ms: float | None
    history_events_per_window: float | None


def part(values: list[float], share: float) -> float:
    """A percentile."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@dataclass
class _Run:
    system: System
    keys: Callable[[int], str]
    ends: float
    took: list[float] = field(default_factory=list[float])
    called: dict[str, float] = field(default_factory=dict[str, float])
    number: int = 0

    async def caller(self) -> None:
        """Add one event after the other until the time is over."""
        while time.perf_counter() < self.ends:
            self.number += 1
            number, key = self.number, self.keys(self.number)
            began = time.perf_counter()
            self.called.setdefault(key, time.time())
            await self.system.add(key, number)
            self.took.append(time.perf_counter() - began)


async def measure(
    system: System, scene: str, keys: Callable[[int], str], callers: int, seconds: float
) -> Figures:
    """Let callers add for a time, wait until all is flushed, and count."""
    before = system.board.windows
    start = time.perf_counter()
    run = _Run(system, keys, start + seconds)
    await asyncio.gather(*(run.caller() for _ in range(callers)))
    added = time.perf_counter() - start
    await _until_flushed(system, run)
    whole = time.perf_counter() - start
    windows = system.board.windows - before
    single = len(run.called) > 1
    late = [system.board.first_flush[k] - at - WAIT for k, at in run.called.items()]
    return Figures(
        scene=scene,
        system=system.name,
        callers=callers,
        adds=len(run.took),
        adds_per_second=round(len(run.took) / added, 1),
        windows=windows,
        windows_per_second=round(windows / whole, 1),
        add_p50_ms=round(part(run.took, 0.5) * 1000, 2),
        add_p99_ms=round(part(run.took, 0.99) * 1000, 2),
        flush_late_p50_ms=round(part(late, 0.5) * 1000, 1) if single else None,
        flush_late_p99_ms=round(part(late, 0.99) * 1000, 1) if single else None,
        history_events_per_window=await _history(system, list(run.called)) if single else None,
    )


async def _history(system: System, keys: list[str]) -> float | None:
    found = [await system.history_of(key) for key in keys[-20:]]
    counts = [count for count in found if count is not None]
    return sum(counts) / len(counts) if counts else None


async def _until_flushed(system: System, run: _Run) -> None:
    """Every event where a system keeps them all, else every key."""
    deadline = time.perf_counter() + 120
    while time.perf_counter() < deadline:
        flushed = [system.board.flushed.get(key, 0) for key in run.called]
        if sum(flushed) == len(run.took) if system.keeps_all else all(flushed):
            return
        await asyncio.sleep(0.02)
    raise RuntimeError(f"{system.name}: {sum(flushed)} of {len(run.took)} events were flushed")
