"""Memory, connections and streams have bounds, and intake its share whatever readers do."""

import asyncio
import json
import select
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest

from durable_jobs.tracking.collector import _protocol as protocol
from durable_jobs.tracking.collector import api
from durable_jobs.tracking.collector.body import MAX_BYTES, Bodies, TooLarge
from durable_jobs.tracking.collector.front import InTurn
from durable_jobs.tracking.collector.store import StoreBusy
from tests.support import eventually

from .support import Sender, event

LARGE = "x" * 150_000


async def opened(
    collector: Sender, request: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, on which a request was sent."""
    port = int(collector.address.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    if request:
        writer.write(f"{request} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await writer.drain()
    return reader, writer


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other end was closed, once all that came is read."""
    try:
        async with asyncio.timeout(0.2):
            while await reader.read(1 << 16):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


async def test_streams_have_a_bound_and_their_places_are_given_back(
    collector: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_MOST_STREAMS", 50)
    async with AsyncExitStack() as stack:
        for _ in range(50):
            answer = await stack.enter_async_context(collector.http.stream("GET", "/api/stream"))
            assert answer.status_code == 200
        refused = await collector.http.get("/api/stream")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "50 streams" in refused.json()["error"]
        assert (await collector.send(event(1)))["accepted"] == 1
        assert (await collector.get("/api/summary"))["events"] == 1

    async def streams_again() -> bool:
        async with collector.http.stream("GET", "/api/stream") as answer:
            return answer.status_code == 200

    await eventually(streams_again)


async def test_a_stream_of_large_events_is_read_in_small_parts(collector: Sender) -> None:
    for n in range(1, 31):
        await collector.send(event(n, input=LARGE))
    async with collector.http.stream("GET", "/api/stream", params={"after": 0}) as answer:
        ids: list[str] = []
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                ids.append(json.loads(line.removeprefix("data: "))["eventId"])
            if len(ids) == 30:
                break
    assert ids == [f"x-{n}" for n in range(1, 31)]


@pytest.mark.parametrize("path", ["/api/stream?after=0", "/api/events"])
async def test_who_asks_and_never_reads_is_cut_off(
    collector: Sender, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(protocol, "_STUCK_SECONDS", 0.3)
    for n in range(1, 9):
        await collector.send(event(n, input="x" * 1_900_000))
    with deaf(collector, path) as reader:
        events = select.poll()
        events.register(reader, 0)  # asks for nothing: told are a reset and an end alone
        await eventually(lambda: events.poll(0))


@contextmanager
def deaf(collector: Sender, path: str) -> Generator[socket.socket]:
    """A connection that asks, with little room for the answer, and never reads it."""
    port = int(collector.address.rstrip("/").rpartition(":")[2])
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", port))
        reader.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield reader


async def test_readers_that_never_read_leave_intake_and_others_their_share(
    collector: Sender,
) -> None:
    for n in range(1, 41):
        await collector.send(event(n, input=LARGE))
    readers = [await opened(collector, "GET /api/stream?after=0") for _ in range(60)]
    readers += [await opened(collector, "GET /api/events?limit=500") for _ in range(5)]
    async with asyncio.timeout(10):
        for n in range(41, 61):
            assert (await collector.send(event(n)))["accepted"] == 1
        assert (await collector.get("/api/summary"))["events"] == 60
        assert (await collector.get("/healthz")) == {"status": "ok"}
    for _, writer in readers:
        writer.transport.abort()


async def test_idle_connections_make_room_for_new_ones(
    collector: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.ImpatientProtocol, "most_connections", 20)
    idle = [await opened(collector) for _ in range(100)]
    async with asyncio.timeout(10):
        assert (await collector.send(event(1)))["accepted"] == 1
    closed = [await is_closed(reader) for reader, _ in idle[:50]]
    assert all(closed)
    for _, writer in idle:
        writer.close()


async def parts(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


async def test_bodies_share_their_room_and_give_it_back() -> None:
    bodies = Bodies(most=1_000)
    with bodies.room() as one, bodies.room() as other:
        assert len(await one.read(parts(300, 400))) == 700
        with pytest.raises(StoreBusy):
            await other.read(parts(200, 200))
    with bodies.room() as one:
        assert len(await one.read(parts(1_000))) == 1_000
    with bodies.room() as one, pytest.raises(StoreBusy):
        await one.read(parts(1_001))


async def test_a_body_over_its_limit_takes_no_more_room_than_that() -> None:
    bodies = Bodies(most=MAX_BYTES)
    with bodies.room() as one, pytest.raises(TooLarge):
        await one.read(parts(MAX_BYTES, 1_000, 1_000_000))


class Asked:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.running, self.most, self.go = 0, 0, asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.go.wait()
        self.running -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 200_000})


async def asked(app: Any) -> list[Any]:
    """What it sends for one request."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "method": "GET", "headers": []}, receive, send)
    return sent


async def test_readers_take_turns_and_each_answer_goes_out_in_pieces() -> None:
    app = Asked()
    turns = InTurn(app, at_once=2)
    asking = [asyncio.create_task(asked(turns)) for _ in range(5)]
    await eventually(lambda: app.running == 2)
    app.go.set()
    for start, *body in await asyncio.gather(*asking):
        assert start["status"] == 200
        assert max(len(part["body"]) for part in body) <= 65_536
        assert b"".join(part["body"] for part in body) == b"x" * 200_000
        assert [part.get("more_body", False) for part in body][-1] is False
    assert app.most == 2


async def test_who_waits_too_long_for_a_turn_is_told_and_who_takes_too_long_is_cut_off() -> None:
    app = Asked()
    turns = InTurn(app, at_once=1, patience=0.05, longest=0.3)
    first = asyncio.create_task(asked(turns))
    await eventually(lambda: app.running == 1)
    start, *_ = await asked(turns)
    assert start["status"] == 503
    assert await first == []


async def test_who_finds_too_many_waiting_is_told_at_once() -> None:
    app = Asked()
    turns = InTurn(app, at_once=1, waiting=1)
    asking = [asyncio.create_task(asked(turns)) for _ in range(3)]
    await eventually(lambda: asking[2].done())
    start, *_ = await asking[2]
    assert start["status"] == 503
    app.go.set()
    assert [(await task)[0]["status"] for task in asking[:2]] == [200, 200]
