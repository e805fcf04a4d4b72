"""What open windows cost a worker's memory, and what its cache of workflows does about it.

    make bench-memory ARGS="--scene cache"

Opens windows that wait for an hour, in a worker process of its own, and reads the process's memory
above that of a worker which has done some work and holds nothing. Then asks windows from all over
for their status, which brings those back that the cache had put out, and must know their event.
"""

import argparse
import asyncio
import itertools
import os
import re
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
import psutil
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.embedded.ports import free_port
from durable_jobs.tracking import MemorySink, Tracking

from .by_hand import AT_ONCE, BY_HAND, WORKFLOWS, ByHand, flushing
from .frame import Asked, Findings, Row, command, stage
from .load import Board, Lost
from .ours import OURS, Ours, numbers

HOUR = 3_600.0
WINDOWS = int(os.environ.get("WINDOWS", "1000"))
DEFAULT_CACHE = 1_000
"""Of the SDK."""

SAMPLE = 50
PATIENCE = 180
"""Seconds in which a worker takes up what was opened."""

ALL, DEFAULT = f"cache for all, {WINDOWS:,} windows", f"the SDK's cache, {WINDOWS:,} windows"
MOST_KB = 100


async def serve(target: str, queue: str, system: str, cache: int, port: int, wait: float) -> None:
    """The worker process."""
    metrics = PrometheusConfig(bind_address=f"127.0.0.1:{port}")
    client = await Client.connect(
        target, runtime=Runtime(telemetry=TelemetryConfig(metrics=metrics))
    )
    if system == OURS:
        plugin = JobsPlugin([numbers(wait)(Board())], Tracking(MemorySink()))
        worker = Worker(client, task_queue=queue, plugins=[plugin], max_cached_workflows=cache)
    else:
        worker = Worker(
            client,
            task_queue=queue,
            workflows=WORKFLOWS,
            activities=[flushing(Board())],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=cache,
        )
    await worker.run()


@dataclass
class WorkerProcess:
    """A running one."""

    process: psutil.Process
    port: int

    async def memory(self) -> int:
        """Its resident memory in bytes, once it has nothing to do."""
        quiet = 0
        while quiet < 5:
            used = sum(self.process.cpu_times()[:2])
            await asyncio.sleep(0.2)
            quiet = quiet + 1 if sum(self.process.cpu_times()[:2]) - used < 0.02 else 0
        return self.process.memory_info().rss

    async def metric(self, name: str) -> int:
        """The sum of one of the SDK's metrics."""
        async with httpx.AsyncClient() as web:
            text = (await web.get(f"http://127.0.0.1:{self.port}/metrics")).text
        return sum(int(float(n)) for n in re.findall(rf"^temporal_{name}{{.*}} (\S+)$", text, re.M))

    async def taken_up(self, windows: int) -> tuple[int, int]:
        """Workflows in its cache, and put out of it, once it has had so many."""
        until = time.monotonic() + PATIENCE
        while True:
            cached = await self.metric("sticky_cache_size")
            evicted = await self.metric("sticky_cache_total_forced_eviction")
            if cached + evicted >= windows:
                return cached, evicted
            if time.monotonic() > until:
                raise Lost(f"the worker had taken up only {cached + evicted} windows")
            await asyncio.sleep(0.2)


@asynccontextmanager
async def working(
    client: Client, queue: str, system: str, cache: int, wait: float = HOUR
) -> AsyncGenerator[WorkerProcess]:
    """A worker process, ended at the end."""
    port = free_port()
    target = client.service_client.config.target_host
    arguments = (target, queue, system, str(cache), str(port), str(wait))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.memory", "--serve", *arguments
    )
    try:
        yield WorkerProcess(psutil.Process(process.pid), port)
    finally:
        process.kill()
        await process.wait()


async def _measure(client: Client, scene: str, name: str, cache: int) -> Row:
    queue = f"memory-{uuid4().hex[:8]}"
    jobs = JobClient(client, task_queue=queue)
    system = (
        Ours(jobs, numbers(HOUR), Board()) if name == OURS else ByHand(client, Board(), queue, HOUR)
    )
    async with working(client, queue, name, cache) as worker:
        await opened(system, [f"{queue}-warm-{n}" for n in range(50)])
        before, warm = await worker.memory(), 50
        keys = [f"{queue}-{number}" for number in range(WINDOWS)]
        await opened(system, keys)
        cached, evicted = await worker.taken_up(WINDOWS + warm)
        more = await worker.memory() - before
        if name == OURS:
            await _all_there(jobs, keys)
    return {
        "scene": scene,
        "system": name,
        "windows": WINDOWS,
        "MB above idle": round(more / 2**20, 1),
        "KB/window": round(more / 1024 / WINDOWS, 1),
        "KB/cached window": round(more / 1024 / max(cached - warm, 1), 1),
        "cached": cached,
        "put out of the cache": evicted,
    }


async def opened(system: Ours | ByHand, keys: list[str]) -> None:
    """Open a window for each key."""
    left = iter(keys)

    async def caller() -> None:
        for key in left:
            await system.add(key, 0)

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))


async def _all_there(jobs: JobClient, keys: list[str]) -> None:
    for key in itertools.islice(keys, 0, None, max(len(keys) // SAMPLE, 1)):
        status = await jobs.debounce(numbers(HOUR), key).status()
        if status is None or status.event_count != 1:
            raise Lost(f"{key}: {status}")


async def main(asked: Asked) -> Findings:
    """Measure both with room for all windows, ours also with the SDK's default."""
    findings = Findings()
    async with stage() as client:
        if asked.wants(ALL):
            for name in (OURS, BY_HAND):
                findings.rows.append(await _measure(client, ALL, name, WINDOWS + 100))
        if asked.wants(DEFAULT):
            findings.rows.append(await _measure(client, DEFAULT, OURS, DEFAULT_CACHE))
    for scene in {str(row["scene"]) for row in findings.rows}:
        kilobytes = float(findings.find(scene, OURS)["KB/window"] or 0)
        findings.promise(f"{scene}: KB/window", kilobytes, MOST_KB, at_most=True)
    return findings


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        parser = argparse.ArgumentParser()
        for name, kind in {
            "target": str,
            "queue": str,
            "system": str,
            "cache": int,
            "port": int,
            "wait": float,
        }.items():
            parser.add_argument(name, type=kind)
        asyncio.run(serve(**vars(parser.parse_args(sys.argv[2:]))))
    else:
        command("memory", "Memory of open windows", main)
