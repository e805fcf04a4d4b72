"""A collector of tracking events that keeps the books: what came, whether any is missing."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from socket import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from durable_jobs.tracking import DebounceFlushed, JobEvent, JobExecuted, parse_event


class Ledger:
    """Every tracking event that came, counted once however often it was sent."""

    def __init__(self) -> None:
        self.by_type: Counter[str] = Counter()
        self.by_job: Counter[tuple[str, str]] = Counter()
        """Counts by job name and type."""
        self.flushed: Counter[str] = Counter()
        """Events in flushed windows, by job name."""
        self.handled: Counter[tuple[str, str]] = Counter()
        """Runs that succeeded, by job name and handler."""
        self.invalid: list[str] = []
        self.repeats = 0
        self.clashes: list[str] = []
        """Different events that claim one place in their instance's sequence."""
        self._ids: set[str] = set()
        self._sequences: defaultdict[str, dict[int, JobEvent]] = defaultdict(dict)

    def add(self, event: JobEvent) -> None:
        """Book one event."""
        if event.event_id in self._ids:
            self.repeats += 1
            return
        self._ids.add(event.event_id)
        other = self._sequences[event.execution_id].setdefault(event.sequence, event)
        if other is not event:
            place = f"{event.sequence} of {event.instance_id}"
            self.clashes.append(f"{other.type} and {event.type} are both {place}")
        self.by_type[event.type] += 1
        self.by_job[event.job_name, event.type] += 1
        if isinstance(event, DebounceFlushed):
            self.flushed[event.job_name] += event.event_count
        if isinstance(event, JobExecuted):
            self.handled[event.job_name, event.handler or ""] += 1

    @property
    def executions(self) -> int:
        """The number of instances' lives that reported anything."""
        return len(self._sequences)

    def gaps(self) -> list[str]:
        """Name the executions with a sequence number missing below the highest that came."""
        return [name for name, seen in self._sequences.items() if max(seen) != len(seen)]

    def summary(self) -> dict[str, object]:
        """Give the books as JSON."""
        return {
            "events": dict(sorted(self.by_type.items())),
            "executions": self.executions,
            "gaps": self.gaps(),
            "clashes": self.clashes,
            "repeats": self.repeats,
            "invalid": self.invalid,
        }


def create_app(ledger: Ledger) -> Starlette:
    """Give the collector: `POST /events` takes a batch, `GET /` shows the books."""

    async def take(request: Request) -> Response:
        for raw in json.loads(await request.body())["events"]:
            try:
                ledger.add(parse_event(raw))
            except ValueError as error:
                ledger.invalid.append(str(error))
        return JSONResponse({})

    async def show(_: Request) -> Response:
        return JSONResponse(ledger.summary())

    return Starlette(routes=[Route("/events", take, methods=["POST"]), Route("/", show)])


class _Server(uvicorn.Server):
    """A server that leaves the signals to the program it is a part of."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listening = asyncio.Event()

    async def ready(self, task: asyncio.Task[None]) -> None:
        """Wait until it listens; raises what `task`, which serves, raised instead."""
        starting = asyncio.create_task(self._listening.wait())
        await asyncio.wait({starting, task}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            starting.cancel()
            await task

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def collecting(ledger: Ledger, port: int) -> AsyncGenerator[str, None]:
    """Serve a collector in this process for as long as the block lasts; gives its address."""
    config = uvicorn.Config(
        create_app(ledger), host="127.0.0.1", port=port, log_level="warning", access_log=False
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        await server.ready(task)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
