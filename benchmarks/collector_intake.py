"""The collector: how many events it takes, with its page closed and open, and how it shows many.

    make bench-collector_intake ARGS="--seconds 8"
    python -m benchmarks.collector_intake --scene intake --seconds 8

Scene `intake` starts the real `durable-jobs collector` on a temporary file, twice. A process of its
own posts batches of 100 events of all types over four connections, as fast as they are taken. With
the page open, headless Chromium shows it and one more reader holds its stream of server-sent
events. Scene `many` fills a file with a million events (two minutes) and measures the first view of
the page, from navigation to everything drawn, and each call of the API. All of it shares the
machine's cores. Needs Chromium.

From another benchmark: `await intake(findings, seconds)` and `await many(findings, count)`, which
add their rows and promises.
"""

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from durable_jobs.tracking.collector.intake import read_batch
from durable_jobs.tracking.collector.schema import open_writer
from durable_jobs.tracking.collector.writing import write
from tests.collector.browser import Browser

from .collector_events import Event, recent
from .collector_process import collector
from .frame import Asked, Findings, Row, command
from .load import ms

INTAKE, MANY = "intake", "many"
FRONT = "page: the front"

VIEWS = {
    "the newest instances": "/api/instances?limit=50",
    "instances in one state": "/api/instances?state=retrying&limit=50",
    "instances of one job": "/api/instances?job=triage-issue&limit=50",
    "instances by a rare text": "/api/instances?text=account-77/&limit=50",
    "the newest events": "/api/events?limit=100",
    "the last exhausted retries": "/api/events?type=job.retryExhausted&limit=100",
    "failures of one job": "/api/events?type=job.failed&job=sync-account&limit=100",
    "events of a type that never came": "/api/events?type=never&limit=100",
    "events of a job that never came": "/api/events?job=never&limit=100",
    "events of one instance and type": "/api/events?instance={instance}&type=never&limit=100",
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


async def _taken(folder: Path, seconds: float, *, opened: bool) -> Row:
    seen = [0]
    async with AsyncExitStack() as stack:
        address, pid = await stack.enter_async_context(collector(folder / f"{opened}.db"))
        if opened:
            await _open(stack, address, seen)
        before = _cpu_seconds(pid)
        said = await _send(address, seconds, most=int(seconds * 250))
        used = _cpu_seconds(pid) - before
        await _check(address, said)
    return {
        "scene": INTAKE,
        "system": "page open" if opened else "page closed",
        "events": said["accepted"],
        "events/s": round(said["accepted"] / said["seconds"], 1),
        "request p50 ms": ms(said["took"], 0.5),
        "request p99 ms": ms(said["took"], 0.99),
        "processor µs/event, the collector's": round(used / said["accepted"] * 1e6, 1),
        "server-sent events read": seen[0] if opened else None,
    }


async def _open(stack: AsyncExitStack, address: str, seen: list[int]) -> None:
    browser = await stack.enter_async_context(Browser())
    await browser.go(address)
    await _until(browser, "document.getElementById('live')?.classList.contains('on')")
    reading = asyncio.create_task(_read_stream(address, seen))
    stack.callback(reading.cancel)


async def _check(address: str, said: dict[str, Any]) -> None:
    """Raise unless everything was taken, is kept and is whole."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        kept = (await http.get(f"{address}/api/summary")).json()["events"]
    if said["others"] or kept != said["accepted"]:
        raise RuntimeError(f"{said['others']} requests refused, {kept} of {said['accepted']} kept")


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


async def intake(findings: Findings, seconds: float) -> None:
    """Events taken with the page closed, then open, each on a fresh file."""
    with tempfile.TemporaryDirectory() as folder:
        for opened in (False, True):
            findings.rows.append(await _taken(Path(folder), seconds, opened=opened))
    rate = float(findings.find(INTAKE, "page open")["events/s"] or 0)
    findings.promise("events/s taken with the page open", rate, 5_000)


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


async def many(findings: Findings, count: int = 1_000_000, file: Path | None = None) -> None:
    """The first view of the page and each call of the API, over a file of `count` events.

    `file` is used as it is where it exists, and else made and kept.
    """
    with tempfile.TemporaryDirectory() as folder:
        database = file or Path(folder) / "many.db"
        if not database.exists():
            fill(database, recent(count, days=30))
        async with collector(database) as (address, _):
            calls = await _calls(address)
        took = {**await _pages(database), **calls}
    first = {name: round(all_of_it[0], 1) for name, all_of_it in took.items()}
    then = {name: round(statistics.median(rest), 1) for name, (_, *rest) in took.items()}
    findings.rows += [
        {"scene": MANY, "system": "first, ms", **first},
        {"scene": MANY, "system": "then, ms", **then},
    ]
    findings.promise(f"ms to the first view of {count:,} events", first[FRONT], 1_000, at_most=True)


async def _pages(database: Path) -> dict[str, list[float]]:
    """With a collector and a browser that have just started: the first view is cold."""
    async with collector(database) as (address, _), Browser() as browser:
        await browser.call("Page.addScriptToEvaluateOnNewDocument", source=_DRAWN)
        front = [await _drawn(browser, address) for _ in range(4)]
        async with httpx.AsyncClient(trust_env=False) as http:
            found = (await http.get(f"{address}/api/instances?limit=1")).json()["instances"]
        chosen = f"{address}/?instance={found[0]['instanceId']}"
        timeline = [await _drawn(browser, chosen) for _ in range(4)]
    return {FRONT: front, "page: an instance": timeline}


async def _drawn(browser: Browser, address: str) -> float:
    await browser.go("about:blank")
    await browser.go(address)
    await _until(browser, "window.drawnAfter !== undefined")
    return await browser.evaluate("window.drawnAfter")


async def _calls(address: str) -> dict[str, list[float]]:
    month = int((time.time() - 30 * 86_400) * 1000)
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
        found = (await http.get("/api/instances?limit=1")).json()["instances"]
        known = {"month": month, "instance": found[0]["instanceId"]}
        return {name: await _timed(http, path.format(**known)) for name, path in VIEWS.items()}


async def _timed(http: httpx.AsyncClient, path: str) -> list[float]:
    took: list[float] = []
    for _ in range(6):
        began = time.perf_counter()
        (await http.get(path)).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
    return took


async def measured(asked: Asked) -> Findings:
    """Run the scenes that are asked for."""
    findings = Findings()
    if asked.wants(INTAKE):
        await intake(findings, asked.seconds)
    if asked.wants(MANY):
        await many(findings)
    return findings


if __name__ == "__main__":
    command("collector_intake", "collector", measured)
