"""A real HTTP collector on 127.0.0.1 that answers as a test wants."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)

    @property
    def events(self) -> list[dict[str, Any]]:
        return json.loads(self.body)["events"]

    @property
    def ids(self) -> list[str]:
        return [event["eventId"] for event in self.events]


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    close: bool = False
    """Closes the connection instead of an answer."""

    closes: bool = False
    """Closes it after the answer."""

    rejected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rejected:
            self.body = json.dumps({"rejected": self.rejected}).encode()


Behaviour = Callable[[Request], Answer | Awaitable[Answer]]


class Collector:
    """Gives the answers in `script` first, one a request, then those of `behaviour`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.accepted: list[dict[str, Any]] = []
        self.script: list[Answer] = []
        self.behaviour: Behaviour = lambda _: Answer()
        self.under_way = 0
        self.most_under_way = 0
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    @property
    def ids(self) -> list[str]:
        """The events that were accepted, in the order of arrival."""
        return [event["eventId"] for event in self.accepted]

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=4_000_000
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections += 1
        number = self._connections
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._serve(reader, writer, number):
                    continue
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        lines = [line.split(":", 1) for line in head[1:] if line]
        headers = {name.lower(): value.strip() for name, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        request = Request(head[0].split()[1], headers, body, number)
        self.requests.append(request)
        answer = await self._answer(request)
        if answer.close:
            return False
        if 200 <= answer.status < 300:
            self.accepted += [e for e in request.events if e["eventId"] not in answer.rejected]
        writer.write(_render(answer))
        await writer.drain()
        return not answer.closes

    async def _answer(self, request: Request) -> Answer:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self.script.pop(0) if self.script else self.behaviour(request)
            return answer if isinstance(answer, Answer) else await answer
        finally:
            self.under_way -= 1


def _render(answer: Answer) -> bytes:
    framing = {} if "transfer-encoding" in answer.headers else {"content-length": len(answer.body)}
    headers = {**framing, **answer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode() + answer.body
