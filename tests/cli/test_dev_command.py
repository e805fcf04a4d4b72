"""`durable-jobs dev`: Temporal, a worker and the collector in one terminal."""

import io
import os
import re
import signal
import socket
import sys
import textwrap
from pathlib import Path

import httpx
import psutil
import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from durable_jobs.cli.app import app
from durable_jobs.cli.dev import Plan
from durable_jobs.cli.lines import colours_wanted, event_line
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port, listens
from tests.support import Python, alive, eventually

DEV = ("-m", "durable_jobs.cli", "dev", "--jobs", "shop:jobs", "--grace", "1")

JOBS = """
    from datetime import timedelta
    from durable_jobs import DebounceJob

    class Digest(DebounceJob[dict, dict]):
        name = "digest"
        flush_after = timedelta(milliseconds=50)

        async def execute(self, run):
            print("executed", run.key, flush=True)

    jobs = [Digest()]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder, with `shop.py` in it."""
    (tmp_path / "shop.py").write_text(textwrap.dedent(JOBS))
    return tmp_path


@pytest.fixture
def port() -> int:
    """A port that is free, and the one of the UI above it too."""
    candidates = (free_port() for _ in range(100))
    return next(port for port in candidates if not listens(port + 1000))


def start(folder: Path, port: int, *more: str, **environment: str) -> Python:
    """`dev` on ports that other tests do not use."""
    ports = ("--port", str(port), "--collector-port", "0")
    return Python(*DEV, *ports, *more, cwd=folder, **environment)


async def add(port: int, key: str) -> None:
    """Add an event with Temporal's own client."""
    client = await Client.connect(f"127.0.0.1:{port}")
    await client.start_workflow(
        "DebounceJob",
        {"job": "digest", "key": key},
        id=f"debounce:digest:{key}",
        task_queue="durable-jobs",
        start_signal="add",
        start_signal_args=[{"a": 1}],
    )


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [child.pid for child in psutil.Process(pid).children()]


async def started(dev: Python) -> list[int]:
    """Wait for the worker; give the processes of Temporal and the worker."""
    await dev.line("Working on task queue")
    found = children(dev.pid)
    assert len(found) == 2
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_names_the_addresses_prints_events_and_stops_everything_at_a_signal(
    folder: Path, port: int, number: signal.Signals
) -> None:
    with start(folder, port) as dev:
        await dev.line(f"127.0.0.1:{port} (temporal")
        await dev.line(f"http://127.0.0.1:{port + 1000}")
        page = re.search(r"http://\S+", await dev.line("collector"))
        assert page
        parts = await started(dev)
        await add(port, "a/b")
        await dev.line("executed a/b")
        await dev.line("debounce.flushed")
        assert re.search(r"job\.executed +debounce:digest:a/b +run 1", dev.text)
        async with httpx.AsyncClient(trust_env=False) as http:
            listed = (await http.get(f"{page[0]}/api/instances")).json()["instances"]
        assert [one["instanceId"] for one in listed] == ["debounce:digest:a/b"]
        dev.signal(number)
        assert await dev.exit_code() == 0
        assert not any(map(alive, parts))
        assert not listens(port)


async def test_the_data_is_there_again_at_the_next_start(folder: Path, port: int) -> None:
    for expected in (0, 1):
        with start(folder, port) as dev:
            await started(dev)
            client = await Client.connect(f"127.0.0.1:{port}")
            if expected == 0:
                await client.start_workflow("Waits", id="kept", task_queue="nobody")
            assert (await client.get_workflow_handle("kept").describe()).id == "kept"
            dev.signal(signal.SIGINT)
            assert await dev.exit_code() == 0
    assert (folder / ".durable-jobs" / "dev.db").exists()


async def test_when_the_server_is_killed_everything_stops(folder: Path, port: int) -> None:
    with start(folder, port) as dev:
        parts = await started(dev)
        server = next(pid for pid in parts if "start-dev" in command_of(pid))
        os.kill(server, signal.SIGKILL)
        assert await dev.exit_code() == 1
        assert "Temporal ended by itself" in dev.text
        assert not any(map(alive, parts))


async def test_when_the_worker_ends_everything_stops(folder: Path, port: int) -> None:
    with start(folder, port) as dev:
        parts = await started(dev)
        worker = next(pid for pid in parts if "start-dev" not in command_of(pid))
        os.kill(worker, signal.SIGKILL)
        assert await dev.exit_code() != 0
        assert "the worker ended by itself" in dev.text
        assert not any(map(alive, parts))
        assert not listens(port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_when_it_is_killed_itself_nothing_stays_behind(folder: Path, port: int) -> None:
    with start(folder, port) as dev:
        parts = await started(dev)
        dev.signal(signal.SIGKILL)
        await eventually(lambda: not any(map(alive, parts)))


async def test_jobs_that_cannot_be_used_end_it_with_code_2(folder: Path, port: int) -> None:
    (folder / "shop.py").write_text("jobs = 7\n")
    with start(folder, port) as dev:
        assert await dev.exit_code() == 2
        assert "not a sequence of jobs" in dev.text
        assert not listens(port)


async def test_a_taken_port_is_named(folder: Path, server: EmbeddedServer) -> None:
    port = int(server.target.rpartition(":")[2])
    with start(folder, port) as dev:
        assert await dev.exit_code() == 1
        assert f"127.0.0.1:{port}" in dev.text
        assert "--port" in dev.text
    assert server.running


async def test_a_taken_port_of_the_collector_is_named_with_its_option(
    folder: Path, port: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with Python(*DEV, "--port", str(port), "--collector-port", str(taken), cwd=folder) as dev:
            assert await dev.exit_code() == 1
            [said] = [line for line in dev.output if "in use" in line]
    assert said.startswith(f"durable-jobs: 127.0.0.1:{taken} is in use")
    assert "--collector-port" in said
    assert not listens(port)


def test_the_collector_has_one_port_that_does_not_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr("durable_jobs.cli.dev.develop", plans.append)
    for arguments in ([], ["--collector-port", "0"], ["--collector-port", "4711"]):
        assert CliRunner().invoke(app, ["dev", "--jobs", "shop:jobs", *arguments]).exit_code == 0
    assert [plan.collector_port for plan in plans] == [4000, 0, 4711]


@pytest.mark.parametrize("option", ["--port", "--ui-port", "--collector-port"])
def test_what_is_no_port_is_refused_and_its_option_named(option: str) -> None:
    result = CliRunner().invoke(app, ["dev", "--jobs", "shop:jobs", option, "65536"])
    assert result.exit_code == 2
    assert option in result.output


async def test_what_a_handler_prints_comes_out_of_a_pipe_at_once(folder: Path, port: int) -> None:
    (folder / "shop.py").write_text(textwrap.dedent(JOBS).replace(", flush=True", ""))
    with start(folder, port, PYTHONUNBUFFERED="") as dev:
        await started(dev)
        await add(port, "one")
        await dev.line("executed one")


async def test_lines_of_events_and_logs_begin_with_a_time_of_one_form(
    folder: Path, port: int
) -> None:
    with start(folder, port) as dev:
        logged = await dev.line("Working on task queue")
        await add(port, "one")
        shown = await dev.line("debounce.flushed")
    time = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} "
    assert re.match(time, logged)
    assert re.match(time, shown)


async def test_a_changed_file_starts_the_worker_anew(folder: Path, port: int) -> None:
    text = (folder / "shop.py").read_text()
    with start(folder, port, "--reload") as dev:
        await started(dev)
        await add(port, "one")
        await dev.line("executed one")
        (folder / "shop.py").write_text(text.replace("executed", "done with"))
        await dev.line("shop.py changed: starting the worker again")
        await dev.line("Working on task queue")
        await add(port, "two")
        await dev.line("done with two")
        assert len(children(dev.pid)) == 2
        dev.signal(signal.SIGINT)
        assert await dev.exit_code() == 0


async def test_a_file_that_cannot_be_read_waits_for_the_change_that_mends_it(
    folder: Path, port: int
) -> None:
    text = (folder / "shop.py").read_text()
    (folder / "shop.py").write_text("jobs = [\n")
    with start(folder, port, "--reload") as dev:
        await dev.line("SyntaxError")
        await dev.line("The worker ended with code 2; a change starts it again")
        (folder / "shop.py").write_text(text)
        await dev.line("Working on task queue")
        await add(port, "one")
        await dev.line("executed one")
        dev.signal(signal.SIGTERM)
        assert await dev.exit_code() == 0
        assert not listens(port)


async def test_it_uses_the_server_that_the_environment_names_and_leaves_it_running(
    folder: Path,
) -> None:
    async with EmbeddedServer(ui=False) as server:
        address = {"TEMPORAL_ADDRESS": server.target}
        with Python(*DEV, "--collector-port", "0", cwd=folder, **address) as dev:
            await dev.line("TEMPORAL_ADDRESS")
            await dev.line(f"Working on task queue durable-jobs at {server.target}")
            await add(int(server.target.rpartition(":")[2]), "one")
            await dev.line("debounce.flushed")
            dev.signal(signal.SIGINT)
            assert await dev.exit_code() == 0
        assert server.running


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"type": "job.started"}, []),
        (
            {"type": "job.executed", "runCount": 3, "attempt": 2, "durationMs": 12},
            ["run 3 attempt 2", "12 ms"],
        ),
        (
            {
                "type": "job.failed",
                "runCount": 1,
                "attempt": 1,
                "willRetry": True,
                "error": {"message": "no\nluck"},
            },
            ["run 1", "will retry", "no luck"],
        ),
        (
            {"type": "job.retryExhausted", "attempts": 3, "reason": "max_attempts"},
            ["3 attempts", "max_attempts"],
        ),
        (
            {"type": "job.terminated", "reason": "done", "runCount": 2, "discardedEvents": 4},
            ["done", "2 runs", "4 events discarded"],
        ),
        ({"type": "debounce.started", "flushAt": "2026-01-02T03:04:05.000Z"}, ["flush at 2026"]),
        (
            {
                "type": "debounce.flushed",
                "eventCount": 7,
                "reason": "timeout",
                "flushReason": "quiet",
                "durationMs": 50,
            },
            ["7 events", "quiet", "50 ms"],
        ),
        (
            {"type": "task.scheduled", "scheduledAt": "nonsense", "trigger": "event"},
            ["by event"],
        ),
        ({"type": "debounce.flushed", "eventCount": 1}, ["1 event,"]),
        ({"type": "job.paused", "by": "user", "note": "ann: why"}, ["by a caller: ann: why"]),
        ({"type": "job.resumed", "by": "exhausted"}, ["by itself"]),
        ({"type": "new.kind", "instanceId": 5}, ["new.kind", "5"]),
        ({}, ["?"]),
    ],
)
def test_each_event_is_one_line_with_the_telling_fields(
    event: dict[str, object], words: list[str]
) -> None:
    line = event_line({"instanceId": "task:a:b", "timestamp": "2026-01-02T03:04:05.678Z", **event})
    assert "\n" not in line
    for word in words:
        assert word in line


def test_on_a_narrow_terminal_the_telling_fields_stand_below() -> None:
    event = {"type": "job.failed", "instanceId": "task:a:b", "runCount": 3, "attempt": 1,
             "error": {"message": "ValueError: nothing of that name is there"}}  # fmt: skip
    assert "\n" not in event_line(event, width=200)
    head, *below = event_line(event, width=50, colours=True).split("\n")
    assert head.endswith("task:a:b")
    assert below == [
        "    run 3, no further try: ValueError: nothing of",
        "    that name is there",
    ]


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert "\x1b" not in event_line({"type": "job.started", "instanceId": "\x1b[2Jx\u202e"})
    assert "\x1b[" in event_line({"type": "job.started"}, colours=True)


def test_colours_are_for_terminals_and_no_color_is_honoured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colours_wanted(Terminal())
    assert not colours_wanted(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours_wanted(Terminal())


def command_of(pid: int) -> str:
    """The command line of a process."""
    return " ".join(psutil.Process(pid).cmdline())
