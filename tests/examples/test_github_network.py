"""The receiver faces the internet: no stranger can use up its memory, connections or patience."""

import asyncio
import contextlib
import json
import logging
import socket
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from pathlib import Path

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from durable_jobs.embedded.ports import free_port
from examples.github import bodies, receiver, replies
from examples.github.receiver import create_app, sign
from examples.github.serving import ImpatientProtocol, config
from examples.github.settings import Settings
from examples.github.store import Store
from tests.examples.github_support import SECRET, RecordingFeeder, Service, service
from tests.support import Python, eventually

ROOT = Path(__file__).parents[2]
SIGNATURE = "X-Hub-Signature-256"
WRONG = f"sha256={'0' * 64}"
HEAD = b"POST /webhooks/github HTTP/1.1\r\nHost: x\r\n"
LARGE = 24 * 1024 * 1024


class Hasty(ImpatientProtocol):
    """Bounds that a test can wait for."""

    most = 5
    head_seconds = 0.3
    request_seconds = 0.6


class Patient(ImpatientProtocol):
    """Few connections, which have time."""

    most = 5


class QuietServer(uvicorn.Server):
    """Leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextlib.asynccontextmanager
async def listening(
    path: Path, protocol: type[ImpatientProtocol], *, max_body: int = 2 * LARGE
) -> AsyncGenerator[Service]:
    """Give the receiver at a port, and a client to call it with."""
    options = Settings(
        database=path / "github.db", webhook_secret=SecretStr(SECRET), max_body=max_body
    )
    feeder = RecordingFeeder()
    with Store(options.database) as store, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = QuietServer(
            config(create_app(store, feeder, options), "127.0.0.1", port, protocol)
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        address = f"http://127.0.0.1:{port}"
        try:
            async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=20) as client:
                yield Service(client, store, feeder)
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[Service]:
    async with service(tmp_path, max_body=2 * LARGE) as running:
        yield running


async def connected(github: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = github.client.base_url
    return await asyncio.open_connection(url.host, url.port)


async def answer_to(github: Service, sent: bytes) -> bytes:
    """What comes until the receiver ends the connection, which it must."""
    reader, writer = await connected(github)
    writer.write(sent)
    received = b""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                received += part
    writer.close()
    return received


@pytest.mark.parametrize("part", [b"", b"POST /webh", HEAD, HEAD + b"X-A: b"])
async def test_a_connection_that_begins_no_request_in_time_is_dropped(
    tmp_path: Path, part: bytes
) -> None:
    async with listening(tmp_path, Hasty) as github:
        assert await answer_to(github, part) == b""
        assert (await github.deliver()).status_code == 202


async def test_a_connection_that_begins_no_second_request_in_time_is_dropped(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path, Hasty) as github:
        first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"
        assert (await answer_to(github, first)).endswith(b'{"status":"ok"}')


async def test_who_trickles_a_head_is_dropped_all_the_same(tmp_path: Path) -> None:
    async with listening(tmp_path, Hasty) as github:
        reader, writer = await connected(github)
        writer.write(HEAD)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while not reader.at_eof():
                    writer.write(b"X-A: b\r\n")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1), 0.05)
        writer.close()
        assert (await github.deliver()).status_code == 202


async def test_who_does_not_read_an_answer_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the system keeps for a reader who does not read.
    monkeypatch.setattr(replies, "SAFE", {"X-Long": "x" * 20_000_000})
    async with listening(tmp_path, Hasty) as github:
        reader, writer = await connected(github)
        writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
        writer.write(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")

        async def broken() -> bool:
            try:
                writer.write(b" ")
                await writer.drain()
            except ConnectionError:
                return True
            return False

        await eventually(broken)
        assert not reader.at_eof()


async def test_half_open_connections_keep_no_delivery_out(tmp_path: Path) -> None:
    async with listening(tmp_path, Patient) as github:
        strangers = [await connected(github) for _ in range(50)]
        async with asyncio.timeout(20):
            # Far sooner than their time is over: the oldest make room.
            assert (await github.deliver()).status_code == 202
            oldest, _ = strangers[0]
            with contextlib.suppress(ConnectionError):
                assert await oldest.read() == b""
        for _, writer in strangers:
            writer.close()


async def test_a_body_that_comes_too_slowly_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_SECONDS", 0.3)
    async with listening(tmp_path, Patient) as github:
        for signature in (b"", SIGNATURE.encode() + b": " + WRONG.encode() + b"\r\n"):
            head = HEAD + signature + b"Content-Length: 500\r\n\r\n{"
            assert (await answer_to(github, head)).startswith(b"HTTP/1.1 408")


async def test_a_body_that_ends_early_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async with listening(tmp_path, Patient) as github:
        _, writer = await connected(github)
        writer.write(HEAD + b"Content-Length: 500\r\n\r\n{")
        await writer.drain()
        writer.close()
        assert (await github.deliver()).status_code == 202


def most_megabytes(process: Python) -> float:
    """The most memory that it ever held."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
async def test_unsigned_bodies_at_once_cost_little_memory_and_keep_no_delivery_out(
    tmp_path: Path,
) -> None:
    address = f"http://127.0.0.1:{(port := free_port())}"
    environment = {
        "GITHUB_JOBS_PORT": str(port),
        "GITHUB_JOBS_WEBHOOK_SECRET": SECRET,
        "GITHUB_JOBS_DATABASE": str(tmp_path / "github.db"),
    }
    with Python("-m", "examples.github.receiver", cwd=ROOT, **environment) as process:
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as client:
            await eventually(lambda: client.get("/healthz"))
            before = process.megabytes

            async def post(number: int) -> int:
                headers = {SIGNATURE: WRONG} if number % 2 else {}
                answer = await client.post(
                    "/webhooks/github", content=b"x" * LARGE, headers=headers
                )
                return answer.status_code

            strangers = [asyncio.create_task(post(number)) for number in range(20)]
            small = await client.post("/webhooks/github", content=b"{}", headers={SIGNATURE: WRONG})
            assert small.status_code == 401
            statuses = await asyncio.gather(*strangers)
        peak = most_megabytes(process)
    # Those that had to wait for too long, on a busy machine, are told to come again.
    assert set(statuses) <= {401, 408, 503}
    assert 401 in statuses
    assert peak - before < 5 * LARGE / 1_000_000


async def test_large_bodies_wait_for_their_turn_and_small_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_TURN_SECONDS", 0.3)
    async with listening(tmp_path, ImpatientProtocol) as github:
        large = b" " * 300_000
        signature = sign(SECRET.encode(), large)
        halves: list[asyncio.StreamWriter] = []
        for _ in range(2):
            _, writer = await connected(github)
            head = f"{SIGNATURE}: {signature}\r\nContent-Length: {len(large)}\r\n\r\n"
            writer.write(HEAD + head.encode() + large[:-1])
            await writer.drain()
            halves.append(writer)

        async def refused() -> bool:
            return (await github.deliver(large)).status_code == 503

        await eventually(refused)
        assert (await github.deliver()).status_code == 202
        for writer in halves:
            writer.close()

        async def taken() -> bool:
            body = json.dumps({"zen": "x" * 300_000}).encode()
            return (await github.deliver(body, delivery="large")).status_code == 202

        await eventually(taken)


async def test_a_body_without_a_signature_is_not_kept(github: Service) -> None:
    answer = await github.deliver(b"x" * 1_000_000, headers={SIGNATURE: "sha256=short"})
    assert answer.status_code == 401


@contextlib.contextmanager
def locked(path: Path, how: str) -> Generator[None]:
    other = sqlite3.connect(path / "github.db", isolation_level=None)
    other.execute(how)
    try:
        yield
    finally:
        other.close()


LOCKS = ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"]


@pytest.mark.parametrize("how", LOCKS)
async def test_a_locked_database_is_said_soon_and_the_delivery_taken_when_it_comes_again(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "_STORE_SECONDS", 0.3)
    async with service(tmp_path) as github:
        with locked(tmp_path, how):
            began = time.monotonic()
            answers = await asyncio.gather(
                *(github.deliver(delivery=f"d-{number}") for number in range(30))
            )
            assert time.monotonic() - began < 9  # SQLite by itself waits for 10
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.headers["Retry-After"] for answer in answers} == {"5"}
        assert "database" in answers[0].json()["error"]

        async def taken() -> bool:
            return (await github.deliver(delivery="d-1")).status_code == 202

        await eventually(taken)


async def test_a_store_that_is_locked_waits_no_longer_than_it_was_told(tmp_path: Path) -> None:
    with Store(tmp_path / "github.db", wait=0.1) as store, locked(tmp_path, LOCKS[0]):
        began = time.monotonic()
        calls = [asyncio.to_thread(store.forget_health, "a/b") for _ in range(4)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 9  # SQLite by itself waits for 10
    assert all(isinstance(failure, sqlite3.OperationalError) for failure in failures)


@pytest.mark.parametrize("path", ["/", "/api/digests", "/api/health", "/api/threads", "/healthz"])
async def test_a_page_without_its_database_says_so(github: Service, path: str) -> None:
    github.store.close()
    answer = await github.client.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


async def test_old_deliveries_are_forgotten_later_where_the_database_is_locked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        options = Settings(database=tmp_path / "github.db", webhook_secret=SecretStr(SECRET))
        with Store(options.database, wait=0.1) as store:
            app = create_app(store, RecordingFeeder(), options)
            with locked(tmp_path, LOCKS[0]):
                async with app.router.lifespan_context(app):
                    await eventually(lambda: "not forgotten" in caplog.text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/api/digests", 200),
        ("GET", "/api/health", 200),
        ("GET", "/api/threads", 200),
        ("GET", "/healthz", 200),
        ("GET", "/webhooks/github", 405),
        ("POST", "/webhooks/github", 401),
        ("GET", "/api/health/", 404),
        ("GET", "/nothing", 404),
    ],
)
async def test_every_answer_forbids_to_guess_what_it_is(
    github: Service, method: str, path: str, status: int
) -> None:
    answer = await github.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_fault_in_the_receiver_says_no_more_than_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a secret")

    monkeypatch.setattr(receiver, "read_delivery", broken)
    async with listening(tmp_path, Patient) as github:
        answer = await github.deliver()
        assert answer.status_code == 500
        assert answer.json() == {"error": "a fault in the receiver: LookupError"}
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("secret", ["", " ", "hush ", "\thush", "hush\n"])
def test_a_secret_with_spaces_around_it_is_refused_at_the_start(
    tmp_path: Path, secret: str
) -> None:
    options = Settings(database=tmp_path / "github.db", webhook_secret=SecretStr(secret))
    with Store(options.database) as store, pytest.raises(ValueError, match="no spaces") as caught:
        create_app(store, RecordingFeeder(), options)
    assert "hush" not in str(caught.value)
