"""Tracking with a collector in trouble: does anything end later than without tracking?

    make bench-tracking_outage

A thousand debounce windows are opened at a steady pace: 25 a second, or half of what the machine
can do. Each lives from its first event until its flush. Three turns: without tracking; with a
collector that is dead for all of these lives and comes back afterwards; with one that takes five
seconds for each request.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.client import Client

from durable_jobs.embedded.ports import free_port
from durable_jobs.tracking import HttpSink, Tracking

from . import debounce
from .frame import Asked, Findings, Row, command, stage
from .history import ended
from .load import Lost, at_a_rate, part
from .ours import ours

UNTRACKED, DEAD, SLOW = "untracked", "dead collector", "slow collector"
SCENE = "a thousand windows"
INSTANCES, WINDOW = 1000, 5.0
AT_MOST, OF_ALL = 25.0, 0.5  # windows a second, and the share of what the machine completes
SLOWLY = 5.0  # seconds a request
KINDS = 3  # debounce.started, job.executed, debounce.flushed
PATIENCE = 300.0  # seconds until all events must be there


@dataclass
class Receiver:
    """A collector that keeps what it gets, slowly if it must."""

    port: int
    delay: float = 0.0
    sequences: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    requests: int = 0

    @property
    def tracking(self) -> Tracking:
        """Events go here."""
        return Tracking(HttpSink(f"http://127.0.0.1:{self.port}/events"))

    @property
    def events(self) -> int:
        """How many different events it has."""
        return sum(map(len, self.sequences.values()))

    async def take(self, request: Request) -> Response:
        """Keep the events; answer when it is time."""
        events: list[dict[str, Any]] = (await request.json())["events"]
        await asyncio.sleep(self.delay)
        self.requests += 1
        for event in events:
            self.sequences.setdefault(event["executionId"], set()).add(event["sequence"])
        return Response(status_code=204)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Be there."""
        app = Starlette(routes=[Route("/events", self.take, methods=["POST"])])
        server = uvicorn.Server(
            uvicorn.Config(app, port=self.port, log_level="warning", lifespan="off")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
        try:
            yield
        finally:
            server.should_exit = True
            await serving


async def main(asked: Asked) -> Findings:
    """Run the three turns."""
    findings = Findings()
    a_second = await _pace(asked.seconds)
    for turn in (_untracked, _dead, _slow):
        # Each on a server of its own: a database that has grown is slower.
        async with stage() as client:
            findings.rows.append(await turn(client, a_second))
    for system in (DEAD, SLOW):
        for figure in ("mean life (s)", "p99 life (s)", "span (s)"):
            ratio = findings.ratio(SCENE, figure, system, UNTRACKED)
            findings.promise(f"{system}: {figure}, times untracked", ratio, 1.05, at_most=True)
        missing = findings.find(SCENE, system)["missing events"]
        findings.promise(f"{system}: missing events", float(missing or 0), 0, at_most=True)
    return findings


async def _pace(seconds: float) -> float:
    """Windows a second that the machine keeps up with: else each would wait for all before it."""
    turns = debounce.Turns()
    async with stage() as client, ours(client, debounce.WAIT, tracked=False) as system:
        await debounce.complete(system, turns, seconds)
        await ended(client, turns.sampled)
    return min(AT_MOST, OF_ALL * turns.a_second)


async def _untracked(client: Client, a_second: float) -> Row:
    return await _lives(client, UNTRACKED, a_second, None)


async def _dead(client: Client, a_second: float) -> Row:
    return await _lives(client, DEAD, a_second, Receiver(free_port()))


async def _slow(client: Client, a_second: float) -> Row:
    receiver = Receiver(free_port(), SLOWLY)
    async with receiver.listening():
        return await _lives(client, SLOW, a_second, receiver)


async def _lives(client: Client, system: str, a_second: float, receiver: Receiver | None) -> Row:
    run, tracking = uuid4().hex[:8], receiver.tracking if receiver else None
    async with ours(client, WINDOW, tracking, tracked=receiver is not None) as jobs:
        began = time.time()
        await at_a_rate(lambda n: jobs.add(f"{run}-{n}", n), a_second, INSTANCES / a_second)
        lives, last = await _ended(client, run)
        row: Row = {
            "scene": SCENE,
            "system": system,
            "instances": len(lives),
            "opened/s": round(a_second, 1),
            "mean life (s)": round(sum(lives) / len(lives), 3),
            "p99 life (s)": round(part(lives, 0.99), 3),
            "span (s)": round(last - began, 2),
        }
        if receiver is not None:
            row |= await _arrived(receiver, system)
    return row


async def _ended(client: Client, run: str) -> tuple[list[float], float]:
    """How long each instance lived, and when the last one ended."""
    prefix = f"debounce:numbers:{run}-"
    query = f"WorkflowType = 'DebounceJob' AND WorkflowId STARTS_WITH '{prefix}'"
    deadline = time.monotonic() + PATIENCE
    while (await client.count_workflows(f"{query} AND CloseTime IS NOT NULL")).count < INSTANCES:
        if time.monotonic() > deadline:
            raise Lost("not every instance ended")
        await asyncio.sleep(0.5)
    runs = [each async for each in client.list_workflows(query)]
    closed = [each.close_time.timestamp() for each in runs if each.close_time is not None]
    lives = [
        (each.close_time - each.start_time) / timedelta(seconds=1)
        for each in runs
        if each.close_time is not None
    ]
    return lives, max(closed)


async def _arrived(receiver: Receiver, system: str) -> Row:
    """Wait for all events; a dead collector comes back only now."""
    since = time.monotonic()
    if system == DEAD:
        async with receiver.listening():
            await _complete(receiver, since + PATIENCE)
    else:
        await _complete(receiver, since + PATIENCE)
    whole = set(range(1, KINDS + 1))
    return {
        "missing events": INSTANCES * KINDS - receiver.events,
        "gaps": sum(found != whole for found in receiver.sequences.values()),
        "all there after (s)": round(time.monotonic() - since, 1),
        "events/request": round(receiver.events / max(receiver.requests, 1), 1),
    }


async def _complete(receiver: Receiver, deadline: float) -> None:
    while receiver.events < INSTANCES * KINDS and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    command("tracking_outage", "Tracking with a collector in trouble", main)
