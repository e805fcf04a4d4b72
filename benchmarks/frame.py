"""What all benchmarks share: the command, the table, the file, the ratios that are promised."""

import argparse
import asyncio
import gc
import json
import platform
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from os import sched_getaffinity
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from durable_jobs.embedded import EmbeddedServer

from .by_hand import by_hand

Row = dict[str, str | int | float | None]
"""One line of a table: what one system did in one scene."""


@dataclass(frozen=True)
class Promise:
    """A figure that the project holds itself to."""

    what: str
    measured: float
    limit: float
    at_most: bool = False

    @property
    def kept(self) -> bool:
        """Whether the figure is on the right side."""
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


@dataclass
class Findings:
    """What a benchmark found."""

    rows: list[Row] = field(default_factory=list[Row])
    promises: list[Promise] = field(default_factory=list[Promise])

    def find(self, scene: str, system: str) -> Row:
        """The line of one system in one scene."""
        for row in self.rows:
            if (row["scene"], row["system"]) == (scene, system):
                return row
        raise LookupError(f"{system} was not measured in the scene {scene}")

    def ratio(self, scene: str, figure: str, ours: str, other: str) -> float:
        """How many times the other's figure ours is."""
        mine, theirs = self.find(scene, ours)[figure], self.find(scene, other)[figure]
        return round(float(mine or 0) / float(theirs or 1), 3)

    def promise(self, what: str, measured: float, limit: float, *, at_most: bool = False) -> None:
        """Set a figure against its limit."""
        self.promises.append(Promise(what, round(measured, 3), limit, at_most))


@dataclass(frozen=True)
class Asked:
    """The options of a benchmark's command."""

    seconds: float
    scenes: list[str]
    known: list[str] = field(default_factory=list[str])
    """Those that the benchmark has asked about."""

    def wants(self, scene: str) -> bool:
        """Whether a scene is to be run."""
        self.known.append(scene)
        return not self.scenes or any(scene.startswith(each) for each in self.scenes)


Measure = Callable[[Asked], Awaitable[Findings]]
Draw = Callable[[Findings, Path], None]


def command(name: str, title: str, measure: Measure, draw: Draw | None = None) -> None:
    """Run a benchmark as a command: print its table, write it to `build/bench`, draw it."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn of a system")
    parser.add_argument("--scene", action="append", default=[], help="only those named so")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    # Ending instances under way is part of some scenes, and the core warns of each.
    quiet = TelemetryConfig(logging=LoggingConfig(TelemetryFilter("ERROR", "ERROR")))
    Runtime.set_default(Runtime(telemetry=quiet))
    began = time.monotonic()
    asked = Asked(given.seconds, given.scene)
    findings = asyncio.run(measure(asked))
    if not findings.rows:
        names = "; ".join(dict.fromkeys(asked.known))
        parser.error(f"no scene begins with {' or '.join(given.scene)}; there are: {names}")
    show(title, findings)
    Console().print(f"measured in {time.monotonic() - began:.0f} s")
    given.output.mkdir(parents=True, exist_ok=True)
    write(findings, given.output / f"{name}.json")
    if draw is not None:
        draw(findings, given.output / f"{name}.svg")


def write(findings: Findings, file: Path) -> None:
    """Keep the findings as JSON, with what they were measured on."""
    on = {
        "cores": len(sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("durable-jobs", "temporalio")},
    }
    promises = [{**asdict(each), "kept": each.kept} for each in findings.promises]
    found = {"on": on, "rows": findings.rows, "promises": promises}
    file.write_text(json.dumps(found, indent=2) + "\n")


def show(title: str, findings: Findings) -> None:
    """Print one table for each scene, then the promises."""
    console = Console()
    for scene in dict.fromkeys(row["scene"] for row in findings.rows):
        rows = [row for row in findings.rows if row["scene"] == scene]
        console.print(_table(f"{title}: {scene}", rows))
    if findings.promises:
        console.print(_promises(findings.promises))


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", min_width=72)
    table.add_column("figure")
    for row in rows:
        table.add_column(str(row["system"]), justify="right")
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        if name not in ("scene", "system"):
            table.add_row(name, *(_cell(row.get(name)) for row in rows))
    return table


def _promises(promises: list[Promise]) -> Table:
    table = Table(title="what is promised", title_justify="left")
    for name in ("figure", "measured", "limit", ""):
        table.add_column(name, justify="right" if name in ("measured", "limit") else "left")
    for each in promises:
        sign = "at most" if each.at_most else "at least"
        verdict = "kept" if each.kept else "[red]missed[/red]"
        table.add_row(each.what, _cell(each.measured), f"{sign} {_cell(each.limit)}", verdict)
    return table


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float() if abs(value) >= 1000 or value == int(value):
            return f"{value:,.0f}"
        case int() | float():
            return f"{value:,}"
        case _:
            return str(value)


@asynccontextmanager
async def stage() -> AsyncIterator[Client]:
    """A client of an embedded server, both for one benchmark, and both warm."""
    # What all of them import is no burden of whoever allocates while it is measured.
    gc.collect()
    gc.freeze()
    async with EmbeddedServer(ui=False) as server:
        client = await Client.connect(server.target)
        async with by_hand(client, 0.1) as system:
            keys = [f"warm-{number}" for number in range(100)]
            await asyncio.gather(*(system.add(key, 0) for key in keys))
            await system.board.until("warm-up", lambda: len(system.board.done) == len(keys))
        yield client


def in_turns(*systems: Any, turns: int = 4) -> list[Any]:
    """Each so many times, an even number, in an order that favours none.

    The server's database grows as it goes, and a machine that others share is not as fast at all
    times: many short turns bear that better than few long ones.
    """
    return turns // 2 * [*systems, *reversed(systems)]
