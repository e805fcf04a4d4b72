"""The collector: how many events it takes, with its page closed and open, and how it shows many.

    python -m benchmarks.collector_intake [--seconds 8] [--many 1000000] [--output FILE]

Starts the real `durable-jobs collector` on a temporary file. A process of its own posts batches of
100 events of all types over four connections, as fast as they are taken. With the page open,
headless Chromium shows it and one more reader holds its stream of server-sent events. Then it
fills a file with `--many` events (0 leaves this out) and measures the first view of the page,
from navigation to everything drawn, and each call of the API. All of it shares the machine's
cores. The processor time per event is the collector's alone (Linux; else 0).

`intake(seconds)` and `many(count)` are the same from Python. Needs Chromium.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from durable_jobs.tracking.collector.intake import read_batch
from durable_jobs.tracking.collector.schema import open_writer
from durable_jobs.tracking.collector.writing import write
from tests.collector.browser import Browser

from .collector_events import Event, recent
from .load import part

VIEWS = {
    "the newest instances": "/api/instances?limit=50",
    "instances in one state": "/api/instances?state=retrying&limit=50",
    "instances of one job": "/api/instances?job=triage-issue&limit=50",
    "instances by a rare text": "/api/instances?text=account-77/&limit=50",
    "the newest events": "/api/events?limit=100",
    "failures of one job": "/api/events?type=job.failed&job=sync-account&limit=100",
    "gaps": "/api/gaps?limit=20",
    "rates of a day": "/api/rates",
    "rates of 30 days": "/api/rates?step=hour&since={month}",
    "summary": "/api/summary",
}
# Notes when the page has drawn all of its first view.
_DRAWN = """
addEventListener("DOMContentLoaded", () => {
  const look = () => {
    const drawn = document.querySelector("#instances li") && document.querySelector("#plot svg")
      && document.querySelector("#totals b");
    if (drawn) requestAnimationFrame(() => { window.drawnAfter = performance.now(); });
    else setTimeout(look, 5);
  };
  look();
});
"""


@dataclass(frozen=True)
class Intake:
    """What the collector took."""

    page: str
    seconds: float
    events: int
    events_per_second: float
    request_p50_ms: float
    request_p99_ms: float
    cpu_us_per_event: float
    """The collector's own processor time."""

    messages: int
    """Server-sent events that the further reader got."""


@dataclass(frozen=True)
class View:
    """How long a view took, the first time and after."""

    view: str
    first_ms: float
    again_ms: float


@asynccontextmanager
async def collector(database: Path) -> AsyncGenerator[tuple[str, int]]:
    """The real command in a process of its own; gives its address and process ID."""
    command = (sys.executable, "-m", "durable_jobs.cli", "collector", "--db", str(database))
    process = await asyncio.create_subprocess_exec(
        *command, "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://[\w.:]+", line)
        if not found:
            raise RuntimeError(f"the collector did not start: {line!r}")
        yield found[0], process.pid
    finally:
        process.terminate()
        await process.wait()


async def _read_stream(address: str, seen: list[int]) -> None:
    """One more reader of the stream, as a second page would be."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=None) as http,
        http.stream("GET", f"{address}/api/stream") as answer,
    ):
        async for part_of_it in answer.aiter_raw():
            seen[0] += part_of_it.count(b"\ndata: ")


async def _send(address: str, seconds: float, most: int) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.collector_sender", address),
        *("--seconds", str(seconds), "--requests", str(most), "--seed", str(time.time_ns() % 9999)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    assert process.stdout
    assert process.stdin
    await process.stdout.readline()
    process.stdin.write(b"go\n")
    answer = await process.stdout.readline()
    await process.wait()
    return json.loads(answer)


async def _scene(folder: Path, seconds: float, *, opened: bool) -> Intake:
    seen = [0]
    async with AsyncExitStack() as stack:
        database = folder / f"{opened}.db"
        address, pid = await stack.enter_async_context(collector(database))
        if opened:
            browser = await stack.enter_async_context(Browser())
            await browser.go(address)
            await _until(browser, "document.getElementById('live')?.classList.contains('on')")
            reading = asyncio.create_task(_read_stream(address, seen))
            stack.callback(reading.cancel)
        before = _cpu_seconds(pid)
        said = await _send(address, seconds, most=int(seconds * 250))
        used = _cpu_seconds(pid) - before
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            kept = (await http.get(f"{address}/api/summary")).json()["events"]
            missing = (await http.get(f"{address}/api/gaps")).json()["total"]
        if said["others"] or kept != said["accepted"] or missing:
            raise RuntimeError(
                f"{said['others']} refused, {kept} kept, {missing} with gaps: {said}"
            )
    took = said["took"]
    return Intake(
        page="open" if opened else "closed",
        seconds=round(said["seconds"], 2),
        events=kept,
        events_per_second=round(kept / said["seconds"], 1),
        request_p50_ms=round(part(took, 0.5) * 1000, 1),
        request_p99_ms=round(part(took, 0.99) * 1000, 1),
        cpu_us_per_event=round(used / kept * 1e6, 1),
        messages=seen[0],
    )


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _until(browser: Browser, expression: str, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not await browser.evaluate(expression):
        if time.monotonic() > deadline:
            raise TimeoutError(expression)
        await asyncio.sleep(0.02)


async def intake(seconds: float) -> list[Intake]:
    """Events taken with the page closed, then open, each on a fresh file."""
    with tempfile.TemporaryDirectory() as folder:
        return [await _scene(Path(folder), seconds, opened=opened) for opened in (False, True)]


def fill(database: Path, events: Iterable[Event]) -> None:
    """Put events into a file the way that intake does."""
    writer = open_writer(database)
    writer.execute("PRAGMA synchronous = OFF")
    source = iter(events)
    while batch := list(itertools.islice(source, 5_000)):
        accepted = read_batch(json.dumps({"events": batch}).encode()).accepted
        writer.execute("BEGIN IMMEDIATE")
        write(writer, accepted)
        writer.execute("COMMIT")
    writer.close()


async def many(count: int, file: Path | None = None) -> list[View]:
    """The first view of the page and each call of the API, over a file of `count` events.

    The file is made where it is not there yet.
    """
    with tempfile.TemporaryDirectory() as folder:
        database = file or Path(folder) / "many.db"
        if not database.exists():
            fill(database, recent(count, days=30))
        async with collector(database) as (address, _):
            calls = await _calls(address)
        pages = await _pages(database)
    return [*pages, *calls]


async def _pages(database: Path) -> list[View]:
    """Each with a collector and a browser that have just started: the first view is cold."""
    async with collector(database) as (address, _), Browser() as browser:
        await browser.call("Page.addScriptToEvaluateOnNewDocument", source=_DRAWN)
        front = [await _drawn(browser, address) for _ in range(4)]
        async with httpx.AsyncClient(trust_env=False) as http:
            found = (await http.get(f"{address}/api/instances?limit=1")).json()["instances"]
        chosen = f"{address}/?instance={found[0]['instanceId']}"
        timeline = [await _drawn(browser, chosen) for _ in range(4)]
    return [
        View("page: the front", round(front[0]), round(statistics.median(front[1:]))),
        View("page: an instance", round(timeline[0]), round(statistics.median(timeline[1:]))),
    ]


async def _drawn(browser: Browser, address: str) -> float:
    await browser.go("about:blank")
    await browser.go(address)
    await _until(browser, "window.drawnAfter !== undefined")
    return await browser.evaluate("window.drawnAfter")


async def _calls(address: str) -> list[View]:
    month = int((time.time() - 30 * 86_400) * 1000)
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
        return [
            View(name, *await _timed(http, path.format(month=month)))
            for name, path in VIEWS.items()
        ]


async def _timed(http: httpx.AsyncClient, path: str) -> tuple[float, float]:
    took: list[float] = []
    for _ in range(6):
        began = time.perf_counter()
        (await http.get(path)).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
    return round(took[0], 1), round(statistics.median(took[1:]), 1)


def _show(taken: list[Intake], views: list[View], count: int) -> None:
    table = Table(title="Intake, batches of 100, four connections")
    for title in ("page", "events/s", "events", "request p50 ms", "p99", "CPU µs/event"):
        table.add_column(title, justify="left" if title == "page" else "right")
    for each in taken:
        row = (
            each.events_per_second,
            each.events,
            each.request_p50_ms,
            each.request_p99_ms,
            each.cpu_us_per_event,
        )
        table.add_row(each.page, *(f"{value:,}" for value in row))
    Console().print(table)
    if views:
        table = Table("view", title=f"{count:,} events in the file")
        table.add_column("first ms", justify="right")
        table.add_column("then ms", justify="right")
        for view in views:
            table.add_row(view.view, str(view.first_ms), str(view.again_ms))
        Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="per scene; 0 leaves intake out")
    parser.add_argument("--many", type=int, default=1_000_000, help="events; 0 leaves this out")
    parser.add_argument("--file", type=Path, help="keep the large file here, for the next run")
    parser.add_argument("--output", type=Path, default=Path("build/bench/collector.json"))
    given = parser.parse_args()
    taken = asyncio.run(intake(given.seconds)) if given.seconds else []
    views = asyncio.run(many(given.many, given.file)) if given.many else []
    _show(taken, views, given.many)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    figures = {"intake": [asdict(each) for each in taken], "views": [asdict(v) for v in views]}
    given.output.write_text(json.dumps(figures, indent=2) + "\n")
