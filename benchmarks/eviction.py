"""Windows that are all flushed at once, in a worker whose cache holds a fifth of them.

    make bench-eviction

5,000 windows are five times the SDK's default; the whole takes 11 minutes. Each window is opened by
one event and flushed by its timer; one worker has room for all of them, then another has not. What
the cache puts out is read and replayed, which by hand is no other: a storm would be windows that
put each other out again and again.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from uuid import uuid4

from temporalio.client import Client

from durable_jobs import JobClient

from .by_hand import BY_HAND, ByHand
from .frame import Asked, Findings, Row, command, stage
from .load import Board, Lost
from .memory import WorkerProcess, opened, working
from .ours import OURS, Ours, numbers

WINDOWS = int(os.environ.get("WINDOWS", "5000"))
ROOM, FIFTH = f"{WINDOWS:,} windows, cache for all", f"{WINDOWS:,} windows, cache for a fifth"
CACHES = {ROOM: WINDOWS + 100, FIFTH: WINDOWS // 5}
WAIT = max(WINDOWS / 100, 10.0)
"""Seconds from an event to its flush: all are open before the first is due."""

PATIENCE = 600.0


@dataclass
class Flushed:
    """What one worker did."""

    seconds: float
    put_out: int

    def row(self, scene: str, system: str) -> Row:
        """The line of the table."""
        return {
            "scene": scene,
            "system": system,
            "windows": WINDOWS,
            "windows/s": round(WINDOWS / self.seconds, 1),
            "put out of the cache": self.put_out,
            "put out/window": round(self.put_out / WINDOWS, 2),
        }


async def _flush_all(client: Client, name: str, cache: int) -> Flushed:
    queue, board = f"eviction-{uuid4().hex[:8]}", Board()
    jobs = JobClient(client, task_queue=queue)
    system = (
        Ours(jobs, numbers(WAIT), board) if name == OURS else ByHand(client, board, queue, WAIT)
    )
    async with working(client, queue, name, cache, WAIT) as worker:
        began = time.monotonic()
        await opened(system, [f"{queue}-{number}" for number in range(WINDOWS)])
        left = began + WAIT - time.monotonic()
        if left < 0:
            raise Lost(f"to open {WINDOWS:,} windows took {WAIT - left:.0f} s, of at most {WAIT}")
        before = await _put_out(worker)
        await asyncio.sleep(left)
        seconds = await _until_flushed(client, queue)
        return Flushed(seconds, await _put_out(worker) - before)


async def _put_out(worker: WorkerProcess) -> int:
    return await worker.metric("sticky_cache_total_forced_eviction")


async def _until_flushed(client: Client, queue: str) -> float:
    """Seconds until the server has seen all of them end."""
    began, query = time.monotonic(), f"TaskQueue = '{queue}' AND ExecutionStatus = 'Completed'"
    while (count := (await client.count_workflows(query)).count) < WINDOWS:
        if time.monotonic() - began > PATIENCE:
            raise Lost(f"{count:,} of {WINDOWS:,} windows were flushed")
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def main(asked: Asked) -> Findings:
    """Measure both systems with both caches."""
    findings = Findings()
    async with stage() as client:
        for scene, cache in CACHES.items():
            for name in (OURS, BY_HAND):
                if asked.wants(scene):
                    flushed = await _flush_all(client, name, cache)
                    findings.rows.append(flushed.row(scene, name))
    if asked.wants(FIFTH):
        fifth = findings.find(FIFTH, OURS)
        findings.promise("put out/window", float(fifth["put out/window"] or 0), 2, at_most=True)
    if not asked.scenes:
        rates = [float(findings.find(scene, OURS)["windows/s"] or 0) for scene in (FIFTH, ROOM)]
        findings.promise("windows/s, times with room for all", rates[0] / rates[1], 0.8)
    return findings


if __name__ == "__main__":
    command("eviction", "Eviction", main)
