"""Tracking: tracked against untracked, side by side, with the real collector as a process.

    make bench-tracking ARGS="--seconds 5"

Tracked workers send over HTTP to `durable-jobs collector`, which shares the machine's cores. At the
end the collector's file must hold the event of every run, and no gap. How many events the
collector itself takes is measured by `benchmarks.collector_intake`.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from temporalio.client import Client

from durable_jobs.embedded.ports import free_port
from durable_jobs.telemetry import serving_metrics
from durable_jobs.tracking import HttpSink, Tracking

from . import continuous, debounce
from .collector_process import collector
from .frame import Asked, Findings, Row, command, in_turns, stage
from .history import cost_of, ended
from .load import Lost, Span
from .ours import ours
from .turns import rows_of

TRACKED, UNTRACKED = "tracked", "untracked"
MEASURED = "tracked and measured"
TICKS, WINDOWS = continuous.FAST, debounce.WINDOWS
METRICS = "metrics, ticks with and without"
WORKER, COLLECTOR, SERVER = "worker and callers", "collector", "server"
TURNS = 12
"""What tracking costs is less than what a shared machine is off in a turn."""


class CountingSink(HttpSink):
    """Notes when requests leave, and the events in each."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.requests: list[tuple[float, int]] = []

    async def send(self, events: Sequence[dict[str, Any]]) -> Any:
        """Note, then POST."""
        self.requests.append((time.perf_counter(), len(events)))
        return await super().send(events)


@dataclass
class CollectorProcess:
    """A running `durable-jobs collector`."""

    url: str
    file: Path
    sinks: list[CountingSink] = field(default_factory=list[CountingSink])

    def tracking(self) -> Tracking:
        """Events go here, counted."""
        self.sinks.append(CountingSink(f"{self.url}/events"))
        return Tracking(self.sinks[-1])

    def count(self, kind: str, job: str) -> int:
        """Events of a type that it has."""
        query = "SELECT count(*) FROM events WHERE type = ? AND job = ?"
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as reader:
            return int(reader.execute(query, (kind, job)).fetchone()[0])

    def gaps(self) -> int:
        """Executions of which an event is missing."""
        query = "SELECT count(*) FROM executions WHERE max_sequence > count"
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as reader:
            return int(reader.execute(query).fetchone()[0])


@asynccontextmanager
async def collecting_process() -> AsyncGenerator[CollectorProcess]:
    """The command on a temporary file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.db"
        async with collector(file) as (url, _):
            yield CollectorProcess(url, file)


async def main(asked: Asked) -> Findings:
    """Run all through all scenes."""
    findings = Findings()
    async with stage() as client, collecting_process() as collecting:
        if asked.wants(TICKS):
            clients: dict[str, Client] = dict.fromkeys(BOTH, client)
            findings.rows += await _ticks(clients, collecting, TICKS, asked.seconds)
        if asked.wants(METRICS):
            findings.rows += await _measured(client, collecting, asked.seconds)
        if asked.wants(WINDOWS):
            # There are fewer windows in a second than ticks.
            findings.rows += await _windows(client, collecting, 2 * asked.seconds)
    _promise(findings, asked)
    return findings


def _promise(findings: Findings, asked: Asked) -> None:
    if asked.wants(METRICS):
        ratio = findings.ratio(METRICS, "ticks/s", MEASURED, TRACKED)
        findings.promise("ticks/s with metrics, times without", ratio, 0.95)
    for scene, figure, a_run, least, more in (
        (TICKS, "ticks/s", "tick", 0.95, 1),
        # The last delivery of a window is an activity of its own: six history events.
        (WINDOWS, "windows/s", "window", 0.75, 6.5),
    ):
        if not asked.wants(scene):
            continue
        ratio = findings.ratio(scene, figure, TRACKED, UNTRACKED)
        findings.promise(f"{figure}, times untracked", ratio, least)
        each = [float(findings.find(scene, name)[f"history events/{a_run}"] or 0) for name in BOTH]
        findings.promise(f"more history events/{a_run}", each[0] - each[1], more, at_most=True)
    if asked.wants(TICKS):
        # Windows that end one by one may not wait long enough for that: see docs/inside.
        shared = float(findings.find(TICKS, TRACKED)["events/request"] or 0)
        findings.promise(f"{TICKS}: events/request", shared, 20)


BOTH = (TRACKED, UNTRACKED)


def _shared(collecting: CollectorProcess, spans: Sequence[Span]) -> Row:
    """How many events share a request under load: not while instances start, or end in a row."""
    shared = [
        events
        for sink in collecting.sinks
        for moment, events in sink.requests
        if any(moment in span for span in spans)
    ]
    collecting.sinks.clear()
    return {"requests": len(shared), "events/request": round(sum(shared) / len(shared), 1)}


async def _arrived(collecting: CollectorProcess, job: str, runs: int) -> None:
    """Wait until every run's event has arrived, exactly once."""
    for _ in range(1_000):
        if collecting.count("job.executed", job) >= runs:
            break
        await asyncio.sleep(0.02)
    there, gaps = collecting.count("job.executed", job), collecting.gaps()
    if there != runs or gaps:
        raise Lost(f"{there} of {runs} runs are with the collector; {gaps} gaps")


# -- ticks


async def _ticks(
    clients: dict[str, Client], collecting: CollectorProcess, scene: str, seconds: float
) -> list[Row]:
    """Let each of these tick with its client."""
    turns = {name: continuous.ticking() for name in clients}
    counted, before = 0, collecting.count("job.executed", "count")
    for name in in_turns(*clients, turns=TURNS):
        tracked = name != UNTRACKED
        tracking = collecting.tracking() if tracked else None
        every = timedelta(milliseconds=1)
        async with continuous.ours(clients[name], every, tracking, tracked=tracked) as ticker:
            counted += await continuous.run_ticks(ticker, turns[name], TICKS, seconds) * tracked
    await _arrived(collecting, "count", before + counted)
    rows = await rows_of(clients[TRACKED], scene, turns)
    rows[0] |= _shared(collecting, turns[TRACKED].spans)
    return rows


async def _measured(client: Client, collecting: CollectorProcess, seconds: float) -> list[Row]:
    """With a client whose metrics are served, as with `--metrics`, and read each second."""
    address = f"127.0.0.1:{free_port()}"
    target = client.service_client.config.target_host
    measured = await Client.connect(target, runtime=serving_metrics(address))
    reading = asyncio.create_task(_read_metrics(f"http://{address}/metrics"))
    clients = {TRACKED: client, MEASURED: measured}
    rows = await _ticks(clients, collecting, METRICS, seconds)
    reading.cancel()
    return rows


async def _read_metrics(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            (await http.get(url)).raise_for_status()
            await asyncio.sleep(1)


# -- windows


async def _windows(client: Client, collecting: CollectorProcess, seconds: float) -> list[Row]:
    turns = {name: debounce.Turns() for name in BOTH}
    spent = {name: Counter[str]() for name in BOTH}
    for name in in_turns(*BOTH, turns=TURNS):
        tracked = name == TRACKED
        tracking = collecting.tracking() if tracked else None
        async with ours(client, debounce.WAIT, tracking, tracked=tracked) as system:
            before = _processor_time()
            await debounce.complete(system, turns[name], seconds)
            spent[name] += _processor_time() - before
            await ended(client, turns[name].sampled)
            # Its worker closes with all sent.
    await _arrived(collecting, "numbers", turns[TRACKED].windows)
    rows: list[Row] = []
    for name, each in turns.items():
        row = each.windows_row(name, await cost_of(client, each.sampled))
        rows.append(row | _each_took(spent[name], each.windows))
    rows[0] |= _shared(collecting, [calls.span for calls in turns[TRACKED].calls])
    return rows


def _processor_time() -> Counter[str]:
    """Milliseconds so far, by process."""
    own = psutil.Process()
    spent = Counter({WORKER: _milliseconds(own)})
    for child in own.children():
        spent[COLLECTOR if COLLECTOR in child.cmdline() else SERVER] += _milliseconds(child)
    return spent


def _milliseconds(process: psutil.Process) -> int:
    times = process.cpu_times()
    return round(1000 * (times.user + times.system))


def _each_took(spent: Counter[str], windows: int) -> Row:
    parts = (WORKER, COLLECTOR, SERVER)
    return {f"{name}, CPU ms/window": round(spent[name] / windows, 2) for name in parts}


if __name__ == "__main__":
    command("tracking", "Tracking", main)
