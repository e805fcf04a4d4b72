"""Workers keep the instances that jobs name, also when the server loses its data."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Every, keys
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from tests.support import eventually
from tests.support.jobs import running_worker


class Poll(ContinuousJob[int]):
    """Counts its runs in its state."""

    name = "poll"
    schedule = Every(timedelta(milliseconds=200))
    keys = ("one", "two")

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    async def execute(self, run: ContinuousRun[int]) -> None:
        run.state += 1
        self.seen[run.key] = run.run_count


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the server's data more often than workers do."""
    monkeypatch.setattr(keys, "_LOOK_EVERY", 0.1)


@pytest.fixture
async def job_and_server(tmp_path: Path) -> AsyncIterator[tuple[Poll, EmbeddedServer, Client]]:
    """A job at work on a server of its own, whose data is `temporal.db`."""
    job = Poll()
    async with EmbeddedServer(ui=False, data=tmp_path / "temporal.db") as server:
        client = await Client.connect(server.target)
        async with running_worker(client, "keys", job):
            await eventually(lambda: job.seen.get("one", 0) > 2 and job.seen.get("two", 0) > 2)
            yield job, server, client


def delete_data(folder: Path) -> None:
    for file in folder.glob("temporal.db*"):
        file.unlink()


async def test_they_start_again_on_a_server_that_came_back_with_an_empty_database(
    job_and_server: tuple[Poll, EmbeddedServer, Client],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job, server, _ = job_and_server
    await server.kill()
    delete_data(tmp_path)
    job.seen.clear()
    await server.restart()
    await eventually(lambda: set(job.seen) == {"one", "two"})
    told = [record.getMessage() for record in caplog.records if "a new one" in record.msg]
    assert len(told) == 1
    assert f"'default' at {server.target}" in told[0]
    assert "without its data" in told[0]


async def test_nothing_starts_again_on_a_server_that_kept_its_data(
    job_and_server: tuple[Poll, EmbeddedServer, Client], caplog: pytest.LogCaptureFixture
) -> None:
    job, server, _ = job_and_server
    before = dict(job.seen)
    await server.kill()
    await server.restart()
    await eventually(lambda: all(job.seen[key] > before[key] + 2 for key in before))
    assert not [record for record in caplog.records if "a new one" in record.msg]


async def test_a_namespace_that_is_gone_is_told_of_once_and_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job, port = Poll(), free_port()
    mine = EmbeddedServer(ui=False, port=port, namespace="mine")
    await mine.start()
    client = await Client.connect(mine.target, namespace="mine")
    async with running_worker(client, "keys", job):
        await eventually(lambda: set(job.seen) == {"one", "two"})
        await mine.stop()
        async with EmbeddedServer(ui=False, port=port, namespace="other"):
            await eventually(lambda: "There is no namespace 'mine'" in caplog.text)
            await asyncio.sleep(0.3)
        job.seen.clear()
        async with EmbeddedServer(ui=False, port=port, namespace="mine"):
            await eventually(lambda: set(job.seen) == {"one", "two"})
    assert caplog.text.count("There is no namespace 'mine'") == 1
