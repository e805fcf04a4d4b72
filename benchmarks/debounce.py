"""Debounce: this library, Temporal by hand, DBOS; one run, one machine, side by side.

    make bench ARGS="--seconds 10"

Callers, workers and what is measured share one process; the Temporal server has its own.
"""

import argparse
import asyncio
import json
import tempfile
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from durable_jobs.embedded import EmbeddedServer

from .by_hand import by_hand
from .dbos_debouncer import dbos
from .measure import Figures, System, measure
from .ours import ours

SCENES = {"hot key": 1_000, "one caller": 1, "distinct keys": 32}
"""How many callers there are."""

AT_ONCE = 32
"""Calls in flight to Temporal by hand, where more bring no more, and to DBOS."""


async def main(seconds: float) -> list[Figures]:
    """Run every system through every scene."""
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedServer(ui=False) as server:
            client = await Client.connect(server.target)
            figures += await _all_scenes(ours(client), seconds)
            figures += await _all_scenes(by_hand(client, AT_ONCE), seconds)
        figures += await _all_scenes(dbos(Path(folder), AT_ONCE), seconds)
    return sorted(figures, key=lambda figure: list(SCENES).index(figure.scene))


async def _all_scenes(system: AbstractAsyncContextManager[System], seconds: float) -> list[Figures]:
    async with system as entered:
        return [
            await measure(
                entered,
                scene,
                (lambda n: f"d{n}") if scene == "distinct keys" else (lambda _, s=scene: s),
                callers,
                seconds,
            )
            for scene, callers in SCENES.items()
        ]


def _show(figures: list[Figures]) -> None:
    table = Table(title="Debounce, a flush 0.5 s after the first event")
    columns = {
        "scene": "scene",
        "system": "system",
        "adds/s": "adds_per_second",
        "windows/s": "windows_per_second",
        "add p50 ms": "add_p50_ms",
        "p99": "add_p99_ms",
        "late p50 ms": "flush_late_p50_ms",
        "late p99": "flush_late_p99_ms",
        "history": "history_events_per_window",
    }
    for title in columns:
        table.add_column(title, justify="left" if title in ("scene", "system") else "right")
    for figure in figures:
        values = asdict(figure)
        cells = ["-" if values[name] is None else str(values[name]) for name in columns.values()]
        table.add_row(*cells, end_section=figure.system.startswith("DBOS"))
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="per system and scene")
    parser.add_argument("--output", type=Path, default=Path("build/bench/debounce.json"))
    given = parser.parse_args()
    measured = asyncio.run(main(given.seconds))
    _show(measured)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps([asdict(each) for each in measured], indent=2) + "\n")
