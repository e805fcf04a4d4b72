"""Debounce: this library, Temporal by hand, DBOS; one run, one machine, side by side.

    make bench ARGS="--seconds 5 --scene hot"

Callers, workers and what is measured share one process; the Temporal server has its own. Every
event that was accepted is waited for: a run that loses one fails. Each system gets four turns of
`--seconds` in each scene, DBOS one.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable
from uuid import uuid4

from temporalio.client import Client

from .by_hand import BY_HAND, BareTimer, ByHand, HandWindow, by_hand
from .dbos_debouncer import DBOS_NAME, dbos
from .frame import Asked, Findings, Row, command, in_turns, stage
from .history import MAX_EVENTS, Cost, cost_of, ended
from .load import Board, Calls, all_the_time, at_a_rate, lasting, ms
from .ours import OURS, Ours, ours
from .plot import draw_debounce

WAIT = 0.5
"""Seconds from an event to its flush."""

HOT, ONE, DISTINCT = "hot key, 1,000 callers", "one caller", "distinct keys, 32 callers"
WINDOWS, LATE = "windows, 64 in flight", "lateness, 10 windows/s"
BARE_TIMER = "bare Temporal timer"
UNTRACKED = f"{OURS}, untracked"
RATE = 10.0
SAMPLE = 20
"""Instances whose histories are read."""


@runtime_checkable
class System(Protocol):
    """One of those compared."""

    name: str
    board: Board
    keeps_all: bool
    """Whether a flush is given all events, or the last one alone."""

    async def add(self, key: str, number: int) -> None:
        """Add an event; returns once it is durable."""
        ...

    def instance(self, key: str) -> str | None:
        """The ID of the key's workflow; None where there is none."""
        ...


Stand = Callable[[float], AbstractAsyncContextManager[System]]
"""Sets a system up, with the seconds that its windows wait."""


@dataclass
class Turns:
    """What one system did in one scene, over its turns."""

    calls: list[Calls] = field(default_factory=list[Calls])
    windows: int = 0
    whole: float = 0.0
    late: list[float] = field(default_factory=list[float])
    sampled: list[str] = field(default_factory=list[str])
    sampled_events: int = 0

    @property
    def took(self) -> list[float]:
        """How long each call took, in seconds."""
        return [took for calls in self.calls for took in calls.took]

    @property
    def a_second(self) -> float:
        """How many calls were answered in a second."""
        return len(self.took) / sum(calls.span.seconds for calls in self.calls)

    def row(self, scene: str, system: str, cost: Cost | None = None) -> Row:
        """The line of the table."""
        took = self.took
        row: Row = {
            "scene": scene,
            "system": system,
            "adds": len(took),
            "adds/s": round(self.a_second, 1),
            "add p50 ms": ms(took, 0.5),
            "add p99 ms": ms(took, 0.99),
            "windows": self.windows,
        }
        if self.late:
            row |= {"late p50 ms": ms(self.late, 0.5), "late p99 ms": ms(self.late, 0.99)}
        if cost is not None:
            row |= {"longest history": cost.longest, **_costs(cost, self.sampled_events)}
        return row

    def windows_row(self, system: str, cost: Cost) -> Row:
        """The line of the table, for whole windows."""
        row = self.row(WINDOWS, system, cost)
        for name in [name for name in row if name.startswith("add") or name.endswith("/event")]:
            del row[name]
        return {**row, "windows/s": round(self.a_second, 1)}


def _costs(cost: Cost, events: int) -> Row:
    a_window = {f"{name}/window": value for name, value in cost.each(cost.runs).items()}
    return a_window | {f"{name}/event": value for name, value in cost.each(events).items()}


async def main(asked: Asked) -> Findings:
    """Run every system through every scene."""
    findings = Findings()
    async with stage() as client:
        adding = {OURS: partial(ours, client), BY_HAND: partial(by_hand, client), DBOS_NAME: dbos}
        for scene, callers in {HOT: 1_000, ONE: 1, DISTINCT: 32}.items():
            if asked.wants(scene):
                wait = asked.seconds + 1 if scene == DISTINCT else WAIT
                findings.rows += await _adds(client, adding, scene, callers, wait, asked.seconds)
        if asked.wants(WINDOWS):
            findings.rows += await _windows(client, asked.seconds)
        if asked.wants(LATE):
            findings.rows += await _lateness(client, asked.seconds)
    _promise(findings, asked)
    return findings


def _promise(findings: Findings, asked: Asked) -> None:
    for scene, other, figure, limit in (
        (HOT, BY_HAND, "adds/s", 60),
        (HOT, DBOS_NAME, "adds/s", 30),
        (ONE, BY_HAND, "adds/s", 0.9),
        (DISTINCT, BY_HAND, "adds/s", 0.9),
        (WINDOWS, BY_HAND, "windows/s", 0.75),
    ):
        if asked.wants(scene):
            ratio = findings.ratio(scene, figure, OURS, other)
            findings.promise(f"{scene}: {figure}, times {other}", ratio, limit)
    if asked.wants(WINDOWS):
        ratio = findings.ratio(WINDOWS, "windows/s", UNTRACKED, BY_HAND)
        findings.promise(f"{WINDOWS}, untracked: windows/s, times {BY_HAND}", ratio, 0.85)
    if asked.wants(LATE):
        late = [findings.find(LATE, name)["late p99 ms"] for name in (OURS, BARE_TIMER)]
        more = float(late[0] or 0) - float(late[1] or 0)
        findings.promise(f"{LATE}: p99 beyond a {BARE_TIMER}'s, ms", more, 50, at_most=True)
    longest = max(int(row.get("longest history") or 0) for row in findings.rows)
    findings.promise("longest history, events", longest, MAX_EVENTS, at_most=True)


# -- adds


async def _adds(
    client: Client,
    systems: dict[str, Stand],
    scene: str,
    callers: int,
    wait: float,
    seconds: float,
) -> list[Row]:
    turns = {name: Turns() for name in systems}
    for name in (*in_turns(OURS, BY_HAND), DBOS_NAME):
        async with systems[name](wait) as system:
            await _add(system, turns[name], scene, callers, seconds)
            # While there is a worker to end them.
            await ended(client, turns[name].sampled)
    return [
        each.row(scene, name, await cost_of(client, each.sampled) if each.sampled else None)
        for name, each in turns.items()
    ]


async def _add(system: System, turns: Turns, scene: str, callers: int, seconds: float) -> None:
    """Let callers add for a time, then wait until everything was flushed."""
    mark, board = uuid4().hex[:6], system.board
    added: dict[str, int] = {}

    async def add(number: int) -> None:
        key = f"{mark}-{number}" if scene == DISTINCT else mark
        await system.add(key, number)
        added[key] = added.get(key, 0) + 1

    calls = await all_the_time(add, callers, seconds)
    wanted = added if system.keeps_all else dict.fromkeys(added, 1)
    await board.until(
        f"{system.name}, {scene}",
        lambda: all(board.done[key] >= count for key, count in wanted.items()),
    )
    if system.keeps_all:
        assert board.done == added, "an event was flushed twice"
    turns.calls.append(calls)
    turns.windows += board.runs
    sample = list(added)[-SAMPLE:]
    turns.sampled += [each for each in map(system.instance, sample) if each is not None]
    turns.sampled_events += sum(added[key] for key in sample)


# -- completed windows


async def _windows(client: Client, seconds: float) -> list[Row]:
    """As many windows as one system completes while 64 are always open."""
    stands = {
        OURS: lambda: ours(client, WAIT),
        UNTRACKED: lambda: ours(client, WAIT, tracked=False),
        BY_HAND: lambda: by_hand(client, WAIT),
    }
    turns = {name: Turns() for name in stands}
    for name in in_turns(*stands):
        async with stands[name]() as system:
            await complete(system, turns[name], seconds)
            await ended(client, turns[name].sampled)
    return [
        each.windows_row(name, await cost_of(client, each.sampled)) for name, each in turns.items()
    ]


async def complete(system: Ours | ByHand, turns: Turns, seconds: float) -> None:
    """Let 64 callers open a window and wait for its flush, again and again."""
    mark, keys = uuid4().hex[:6], list[str]()

    async def one_window(number: int) -> None:
        key = f"{mark}-{number}"
        keys.append(key)
        flushed = system.board.next_run(key)
        await _open(system, key)
        await flushed

    turns.calls.append(await lasting(one_window, 64, seconds))
    assert system.board.done == dict.fromkeys(keys, 1), "a window was lost or ran twice"
    turns.windows += len(keys)
    turns.sampled += [system.instance(key) for key in keys[-SAMPLE:]]
    turns.sampled_events += len(keys[-SAMPLE:])


def _open(system: Ours | ByHand, key: str) -> Awaitable[None]:
    if isinstance(system, ByHand):
        return system.start(HandWindow, key)
    return system.add(key, 0)


# -- lateness


async def _lateness(client: Client, seconds: float) -> list[Row]:
    """Windows opened at a fixed rate, against timers started at the same rate."""
    turns = {OURS: Turns(), BARE_TIMER: Turns()}
    for name in in_turns(OURS, BARE_TIMER):
        stand = ours(client, WAIT) if name == OURS else by_hand(client, WAIT)
        async with stand as system:
            await _at_a_rate(system, turns[name], 2 * seconds)
    return [each.row(LATE, name) for name, each in turns.items()]


async def _at_a_rate(system: Ours | ByHand, turns: Turns, seconds: float) -> None:
    mark, board = uuid4().hex[:6], system.board

    async def one(number: int) -> None:
        key = f"{mark}-{number}"
        if isinstance(system, ByHand):
            await system.start(BareTimer, key)
        else:
            await system.add(key, number)

    calls = await at_a_rate(one, RATE, seconds)
    await board.until(f"{system.name}, {LATE}", lambda: board.runs >= len(calls.took))
    turns.calls.append(calls)
    turns.windows += board.runs
    turns.late += board.late


if __name__ == "__main__":
    command("debounce", "Debounce", main, draw_debounce)
