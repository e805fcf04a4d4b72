"""One run of chaos, from the first call to the account."""

import asyncio
import random
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from durable_jobs.embedded import EmbeddedServer

from .accounts import Report, balance
from .jobs import Notebook
from .load import Callers
from .refusals import check_refusals
from .weather import Moody, Weather, Workers

PATIENCE = 120.0
"""Seconds without anything ending, once nothing fails any more, until it counts as stuck."""

_SWEPT = {"TaskJob", "WorkerPoolJob"}
"""What does not end by itself."""


@dataclass
class Outcome:
    """A run's account, and what it went through."""

    report: Report
    callers: Callers
    kills: int
    restarts: int
    answers: dict[str, int]

    def __str__(self) -> str:
        found, callers = self.report, self.callers
        return "\n".join(
            [
                f"instances  {callers.started.total()}: {dict(callers.started)}",
                f"added      {len(callers.added)} events; {callers.repeated} calls repeated",
                f"kills      {self.kills} workers, {self.restarts} restarts of the server",
                f"answers    {self.answers}",
                f"events     {found.events}, and {found.refused} refused for good",
                f"types      {dict(found.types)}",
                f"losses     {found.losses}",
                f"gaps       {found.gaps}",
                f"duplicates {found.duplicates}, each the same to the byte",
                *(f"FAULT      {fault}" for fault in found.faults),
            ]
        )


async def run(
    folder: Path, seconds: float, seed: int, callers: int = 12, **weather_options: Any
) -> Outcome:
    """Let jobs run while everything fails, wait until all has ended, and count."""
    chance, queue = random.Random(seed), f"chaos-{uuid.uuid4().hex[:8]}"
    moody, notes = Moody(), folder / "notes.jsonl"
    await moody.collector.start()
    async with EmbeddedServer(ui=False, data=folder / "temporal.db") as server:
        client = await Client.connect(server.target)
        command = (server.target, queue, str(notes), moody.collector.url)
        workers = Workers(command, folder / "workers.log")
        weather = Weather(server, workers, moody, chance, **weather_options)
        load = Callers(client, queue, chance)
        try:
            await asyncio.gather(*(workers.start() for _ in range(3)))
            await _storm(weather, load, callers, seconds)
            await moody.change("fine")
            await _all_ended(client, queue, load)
            report = balance(moody.books, Notebook(notes).read(), load.added)
            await check_refusals(client, queue, moody, report)
        finally:
            await workers.stop()
            await moody.collector.stop()
    return Outcome(report, load, workers.kills, weather.restarts, dict(moody.answers))


async def _storm(weather: Weather, load: Callers, callers: int, seconds: float) -> None:
    raging = asyncio.create_task(weather.rage())
    try:
        await load.call(callers, seconds)
        while not weather.has_shown_all:
            await load.call(callers, 1)
    finally:
        raging.cancel()
        with suppress(asyncio.CancelledError):
            await raging
        # The cancelled task may have left either of them half-way.
        await weather.server.restart()
        while len(weather.workers.processes) < 3:
            await weather.workers.start()


async def _all_ended(client: Client, queue: str, load: Callers) -> None:
    """Wait while fewer and fewer are open.

    The pool is ended last, and so are tasks that a repeated call began anew.
    """
    query = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
    fewest, since = sys.maxsize, time.monotonic()
    while open_ones := [workflow async for workflow in client.list_workflows(query)]:
        if len(open_ones) < fewest:
            fewest, since = len(open_ones), time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise AssertionError(f"stuck: {sorted(workflow.id for workflow in open_ones)[:20]}")
        if all(workflow.workflow_type in _SWEPT for workflow in open_ones):
            with suppress(RPCError):
                await _sweep(client, [workflow.id for workflow in open_ones], load)
        await asyncio.sleep(1)


async def _sweep(client: Client, instance_ids: list[str], load: Callers) -> None:
    """End tasks that are idle, and then the pool."""
    found: list[Any] = [
        await client.get_workflow_handle(each).query("status") for each in instance_ids
    ]
    idle = [status for status in found if status["status"] == "idle"]
    for status in idle:
        if status["jobType"] == "task":
            await load.end_task(status["key"])
    if len(idle) == len(found) and all(status["jobType"] == "workerPool" for status in found):
        await load.end_pool()
