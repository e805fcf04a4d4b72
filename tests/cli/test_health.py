"""`/livez` and `/readyz` of a worker."""

import asyncio
import contextlib
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from durable_jobs.errors import InvalidSettings
from durable_jobs.health import Health, response, serving_health
from tests.support import Python, eventually
from tests.support.shop import WORKER, Add, start


def ready() -> Health:
    health = Health(answers=True)
    health.note_poll(datetime.now(UTC))
    return health


def test_a_worker_is_ready_while_it_polls() -> None:
    assert ready().problem() is None


def test_a_worker_is_not_ready_before_its_first_poll() -> None:
    health = Health(answers=True)
    health.note_poll(None)
    assert health.problem() == "the server has not lately seen this worker poll"


def test_a_poll_that_the_server_saw_two_minutes_ago_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    health, last = Health(answers=True), datetime.now(UTC)
    now = [1000.0]
    monkeypatch.setattr("durable_jobs.health.monotonic", lambda: now[0])
    health.note_poll(last)
    now[0] += 119
    health.note_poll(last)
    assert health.polls
    now[0] += 2
    health.note_poll(last)
    assert not health.polls


def test_a_worker_that_stops_is_not_ready() -> None:
    health = ready()
    health.stopping = True
    assert health.problem() == "the worker is stopping"


def test_a_worker_is_not_ready_while_temporal_does_not_answer() -> None:
    health = ready()
    health.answers = False
    assert health.problem() == "Temporal does not answer"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /livez HTTP/1.1", 200),
        (b"GET /readyz?verbose HTTP/1.1", 503),
        (b"GET / HTTP/1.1", 404),
        (b"GET /livez/../etc HTTP/1.1", 404),
        (b"POST /livez HTTP/1.1", 405),
        (b"HEAD /readyz HTTP/1.1", 405),
        (b"\xff\x00", 404),
        (b"", 404),
    ],
)
def test_it_answers_get_of_two_paths_alone(line: bytes, status: int) -> None:
    assert response(line, Health()).startswith(b"HTTP/1.1 %d " % status)


async def test_what_sends_no_request_or_a_huge_one_is_let_go() -> None:
    port = free_port()
    async with serving_health(f"127.0.0.1:{port}", ready()):
        reader, huge = await asyncio.open_connection("127.0.0.1", port)
        huge.write(b"GET /livez?" + b"a" * 100_000)
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{port}/readyz")
            assert (answer.status_code, answer.text) == (200, "ok\n")
        silent.close()
        huge.close()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "256.1.1.1:80"])
async def test_a_wrong_address_is_named(address: str) -> None:
    with pytest.raises(InvalidSettings, match=f"Health cannot be served at '{address}'"):
        async with serving_health(address, Health()):
            pass


async def test_an_address_in_use_ends_the_worker_with_code_2(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = (*WORKER, "--jobs", "shop:jobs", "--health", address)
        with Python(*command, cwd=folder) as worker:
            assert await worker.exit_code() == 2
            assert f"Health cannot be served at '{address}'" in worker.text


async def test_a_worker_is_ready_once_it_polls_and_no_more_once_it_stops(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    address = f"127.0.0.1:{free_port()}"
    with start(folder, server, queue, "--health", address, "--grace", "20") as worker:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:

            async def ready() -> bool:
                return (await http.get("/readyz")).status_code == 200

            await eventually(ready)
            await add("slow", "one", seconds=300)
            await worker.line("started one")
            worker.signal(signal.SIGTERM)
            await worker.line("Stopping")
            stopping = await http.get("/readyz")
            assert (stopping.status_code, stopping.text) == (503, "the worker is stopping\n")
            assert (await http.get("/livez")).status_code == 200


async def test_a_worker_lives_but_is_not_ready_without_temporal(folder: Path, queue: str) -> None:
    address, nobody = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = (*WORKER, "--jobs", "shop:jobs", "--health", address)
    with Python(*command, cwd=folder, TEMPORAL_ADDRESS=nobody) as worker:
        await worker.line("Temporal does not answer")
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
            assert (await http.get("/livez")).status_code == 200
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.text) == (503, "Temporal does not answer\n")
