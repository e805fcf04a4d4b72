"""Events as a worker would send them, and a collector to send them to."""

import re
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from durable_jobs.tracking.collector import CollectorSettings, collecting
from tests.support import Python, eventually

JSON = {"Content-Type": "application/json"}
COMMAND = ("-m", "durable_jobs.cli", "collector")
START = datetime.now(UTC) - timedelta(minutes=10)


def event(sequence: int = 1, **more: Any) -> dict[str, Any]:
    """A run that succeeded, of one execution of `task:triage:a`, unless said otherwise."""
    moment = START + timedelta(seconds=sequence)
    execution = more.get("executionId", "x")
    made: dict[str, Any] = {
        "eventId": f"{execution}-{sequence}",
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "source": "job",
        "instanceId": "task:triage:a",
        "id": "a",
        "jobType": "task",
        "jobName": "triage",
        "env": "test",
        "serviceKey": "",
        "executionId": "x",
        "sequence": sequence,
        "type": "job.executed",
        "runCount": sequence,
        "durationMs": 12,
        "attempt": 1,
    }
    return {**made, **more}


def failed(sequence: int = 1, message: str = "no luck", **more: Any) -> dict[str, Any]:
    """An attempt that failed and is tried again, unless said otherwise."""
    error = {"message": message, "stack": "Traceback: in execute"}
    return event(sequence, **{"type": "job.failed", "error": error, "willRetry": True, **more})


class Sender:
    """A client of one collector."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    @property
    def address(self) -> str:
        return str(self.http.base_url)

    async def post(self, *events: object, path: str = "/events", **more: Any) -> httpx.Response:
        return await self.http.post(path, json={"events": events}, **more)

    async def send(self, *events: object) -> dict[str, Any]:
        """Post events and give the verdicts."""
        answer = await self.post(*events)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, path: str, **parameters: Any) -> Any:
        answer = await self.http.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ids(self, **parameters: Any) -> list[str]:
        """The IDs of the events that fit."""
        found = await self.get("/api/events", **parameters)
        return [one["eventId"] for one in found["events"]]


@asynccontextmanager
async def running(path: Path, port: int = 0, **settings: Any) -> AsyncGenerator[Sender]:
    """A collector over a file, and a client of it."""
    async with (
        collecting(CollectorSettings(path, **settings), port=port) as address,
        httpx.AsyncClient(base_url=address, headers=JSON, trust_env=False, timeout=20) as http,
    ):
        yield Sender(http)


async def until_left(collector: Sender, count: int) -> None:
    """Wait until retention has left so many events."""

    async def swept() -> bool:
        return (await collector.get("/api/summary"))["events"] == count

    await eventually(swept)


@asynccontextmanager
async def forgetting(path: Path, *sent: dict[str, Any], keep: int = 0) -> AsyncGenerator[Sender]:
    """A collector that has just deleted the events sent, but for the last few."""
    async with running(path) as collector:
        await collector.send(*sent)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE events SET received = 0 WHERE seq <= ?", (len(sent) - keep,))
    async with running(path, retention=timedelta(days=1)) as collector:
        await until_left(collector, keep)
        yield collector


async def address(process: Python) -> str:
    """Where the page of a collector is that is a process."""
    found = re.search(r"http://[\w.:]+", await process.line("Page at"))
    assert found
    return found[0]
