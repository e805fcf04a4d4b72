"""Servers for all tests: one dev server for the session, a time-skipping one on request."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs.embedded import EmbeddedServer
from tests.debounce.jobs import Bench, debounce_bench
from tests.support.lives import Tracked, tracked_worker
from tests.support.scene import Scene, stage
from tests.support.shop import Add, adding, write_shop
from tests.support.skipping import skipping_server
from tests.tracking.collector import Collector
from tests.tracking.jobs import all_jobs


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a line a reason what was skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2] for report in skipped).items():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[EmbeddedServer]:
    """A dev server on a temporary file, without the UI. Tests that stop one start their own."""
    async with EmbeddedServer(ui=False) as server:
        yield server


@pytest.fixture(scope="session")
async def client(server: EmbeddedServer) -> Client:
    """A client on `server`."""
    return await Client.connect(server.target)


@pytest.fixture
def queue() -> str:
    """A task queue that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A time-skipping server of this test alone: what one test leaves open stops its skipping."""
    async with skipping_server() as environment:
        yield environment


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Takes tracking events at its URL, or does with them what the test wants."""
    collector = Collector()
    await collector.start()
    yield collector
    await collector.stop()


@pytest.fixture
async def scene(
    server: EmbeddedServer, client: Client, queue: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    """A stage of this test alone, for workers that are killed."""
    async with stage(server, client, queue, tmp_path) as scene:
        yield scene


@pytest.fixture(scope="module")
async def bench(client: Client) -> AsyncIterator[Bench]:
    """A worker with the debounces of `tests.debounce.jobs`, for the tests of one file."""
    async with debounce_bench(client) as bench:
        yield bench


@pytest.fixture(scope="module")
async def worker(client: Client, request: pytest.FixtureRequest) -> AsyncIterator[Tracked]:
    """A worker with the jobs of `tests.tracking.jobs`, for the tests of one file."""
    async with tracked_worker(client, request.node.path.stem, all_jobs()) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder, with `shop.py` in it."""
    return write_shop(tmp_path)


@pytest.fixture
def add(client: Client, queue: str) -> Add:
    """Adds an event for a job of `shop.py`, to a key of this test alone."""
    return adding(client, queue)
