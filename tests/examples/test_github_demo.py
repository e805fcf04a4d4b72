"""The demonstration, as a new user runs it."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from examples.github.demo.replay import load, twice
from examples.github.jobs import RepoDigest, RepoHealth, Thread
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def demo(*arguments: str, folder: Path) -> AsyncGenerator[Process, None]:
    """Run the demonstration with its temporary files in `folder`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.github.demo",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "100"},
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)


async def output(process: Process) -> str:
    """Give all it writes until it ends."""
    assert process.stdout
    async with asyncio.timeout(90):
        return (await process.stdout.read()).decode()


async def lines_until(process: Process, wanted: str) -> str:
    """Give what it writes up to the line with `wanted`."""
    assert process.stdout
    seen = ""
    async with asyncio.timeout(90):
        while wanted not in seen:
            line = (await process.stdout.readline()).decode()
            assert line, seen
            seen += line
    return seen


def left_in(folder: Path) -> list[Path]:
    """Give what a folder holds."""
    return list(folder.iterdir())


def row(text: str, name: str) -> int:
    """Give the number that the table has beside a name."""
    found = re.search(rf"│ {re.escape(name)} +│ +(\d+) │", text)
    assert found, text
    return int(found.group(1))


async def test_the_demonstration_ends_with_its_table_and_leaves_nothing(tmp_path: Path) -> None:
    async with demo("--deliveries", "25", folder=tmp_path) as process:
        text = await output(process)
        assert await process.wait() == 0, text
    assert row(text, "deliveries taken") == 25
    assert row(text, "duplicates dropped") == len(twice(load(25))) - 25
    assert row(text, "digests") >= 1
    assert row(text, "follow-ups") >= 1
    assert row(text, "tracking: debounce.flushed") == row(text, "digests")
    assert "everything is stopped" in text
    assert left_in(tmp_path) == []


async def test_a_demonstration_left_running_shows_its_page_until_it_is_interrupted(
    tmp_path: Path,
) -> None:
    async with demo("--serve", "--deliveries", "10", folder=tmp_path) as process:
        text = await lines_until(process, "  collector ")
        async with httpx.AsyncClient() as client:
            for name in ("page", "Temporal UI", "collector"):
                [address] = re.findall(rf"^  {name} +(http://\S+)$", text, re.MULTILINE)
                assert (await client.get(address, follow_redirects=True)).is_success
            [collector] = re.findall(r"^  collector +(\S+)$", text, re.MULTILINE)

            async def all_jobs_known() -> bool:
                found = (await client.get(f"{collector}/api/summary")).json()
                assert (found["gaps"], bool(found["workflowsUrl"])) == (0, True)
                return found["jobs"] == [RepoDigest.name, RepoHealth.name, Thread.name]

            assert await eventually(all_jobs_known)
            [page] = re.findall(r"^  page +(\S+)$", text, re.MULTILINE)
            process.send_signal(signal.SIGINT)
            text = await output(process)
            assert await process.wait() == 0, text
            with pytest.raises(httpx.TransportError):
                await client.get(page)
    assert left_in(tmp_path) == []


async def test_an_interrupted_demonstration_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    async with demo("--deliveries", "10", folder=tmp_path) as process:
        await eventually(lambda: list(tmp_path.glob("*/worker.log")))
        process.send_signal(signal.SIGINT)
        text = await output(process)
        assert await process.wait() == 130, text
    assert "failed: interrupted" in text
    assert left_in(tmp_path) == []


async def test_a_wrong_number_of_deliveries_is_refused(tmp_path: Path) -> None:
    async with demo("--deliveries", "101", folder=tmp_path) as process:
        text = await output(process)
        assert await process.wait() == 2
    assert "a number from 1 to 100" in text
