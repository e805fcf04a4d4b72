"""A backlog of very small events that waited for a worker: how soon it answers, and is done.

    make bench-flood ARGS="--scene 10,000"

Events are sent while no worker runs. Then two workers start: measured are the time to the first
answer of the instance and the time until each event has run, once.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import (
    DebounceJob,
    DebounceRun,
    JobClient,
    JobsError,
    JobsPlugin,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)

from .frame import Asked, Findings, Row, command, stage

COUNTS = (10_000, 100_000, 1_000_000)
KEYS = 2
"""Instances that have such a backlog at once."""

PATIENCE = 1_800.0
RAN: Counter[str] = Counter()


class Gather(DebounceJob[int, int]):
    """Counts events; one window for all."""

    name = "gather"
    flush_after = timedelta(seconds=1)

    def reduce(self, state: int | None, event: int) -> int:
        return (state or 0) + 1

    async def execute(self, run: DebounceRun[int]) -> None:
        RAN[run.key] += run.event_count


class Handle(TaskJob[int, int]):
    """Counts events one by one."""

    name = "handle"

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: int) -> None:
        run.state += 1
        RAN[run.key] += 1

    async def execute(self, run: TaskRun[int]) -> None:
        """No alarm is set."""


class Pool(WorkerPoolJob[int]):
    """The same, on two instances."""

    name = "pool"
    concurrency = KEYS

    async def execute(self, run: WorkerPoolRun[int]) -> None:
        RAN["pool"] += 1


async def _send(jobs: JobClient, kind: str, count: int) -> list[str]:
    """Send so many events to each of the keys; returns the keys."""
    keys = [uuid4().hex for _ in range(KEYS)]
    if kind == "worker pool":
        await jobs.worker_pool(Pool).enqueue_many([1] * (count * KEYS))
        return ["pool"]
    for key in keys:
        if kind == "debounce":
            await jobs.debounce(Gather, key).add_many([1] * count)
        else:
            handle = jobs.task(Handle, key)
            for start in range(0, count, 1_000):
                part = min(1_000, count - start)
                await asyncio.gather(*(handle.send(1) for _ in range(part)))
    return keys


async def _first_answer(jobs: JobClient, kind: str, keys: list[str]) -> None:
    while True:
        try:
            if kind == "worker pool":
                await jobs.worker_pool(Pool).status()
            elif kind == "debounce":
                await jobs.debounce(Gather, keys[-1]).status()
            else:
                await jobs.task(Handle, keys[-1]).status()
        except JobsError:
            continue
        return


async def _until_done(keys: list[str], count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while sum(RAN[key] for key in keys) < count * KEYS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _two_workers(client: Client, queue: str) -> AsyncIterator[None]:
    # A client takes one worker for a queue.
    second = await Client.connect(client.service_client.config.target_host)
    jobs = [Gather(), Handle(), Pool()]
    async with (
        Worker(client, task_queue=queue, plugins=[JobsPlugin(jobs)]),
        Worker(second, task_queue=queue, plugins=[JobsPlugin(jobs)]),
    ):
        yield


async def _flood(client: Client, kind: str, count: int) -> Row:
    queue = f"flood-{uuid4().hex[:8]}"
    jobs = JobClient(client, task_queue=queue)
    RAN.clear()
    began = time.monotonic()
    keys = await _send(jobs, kind, count)
    sent = time.monotonic() - began
    async with _two_workers(client, queue):
        began = time.monotonic()
        await _first_answer(jobs, kind, keys)
        answered = time.monotonic() - began
        await _until_done(keys, count)
        done = time.monotonic() - began
    return {
        "scene": f"{count:,} events wait, for each of {KEYS} instances",
        "system": kind,
        "sent in s": round(sent, 1),
        "first answer after s": round(answered, 2),
        "all ran after s": round(done, 1),
        "ran": sum(RAN[key] for key in keys),
        "events/s": round(count * KEYS / done),
    }


async def measure(asked: Asked) -> Findings:
    """Measure all job types, with backlogs of all lengths."""
    findings = Findings()
    async with stage() as client:
        for count in COUNTS:
            if asked.wants(f"{count:,}"):
                for kind in ("debounce", "task", "worker pool"):
                    findings.rows.append(await _flood(client, kind, count))
    return findings


if __name__ == "__main__":
    command("flood", "Backlogs of small events", measure)
