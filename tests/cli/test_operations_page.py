"""The session of `docs/operations.md`, played on a real server."""

import re
import shlex
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Every, JobClient, TaskJob, TaskRun
from durable_jobs.embedded import EmbeddedServer
from tests.support import eventually
from tests.support.jobs import at_most, running_worker
from tests.support.operating import Operator

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
COMMAND = "    $ "
ROLL_OUT = "supervisorctl restart worker:*"
DOWN: set[str] = set()
"""Accounts whose service answers nothing."""


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(timedelta(hours=1))
    retry = at_most(3)

    def initial_state(self, key: str) -> int:
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        await fetch_orders(run.key)


async def fetch_orders(account: str) -> None:
    if account in DOWN:
        raise ConnectionError(f"{account}: 503 Service Unavailable")


class Check(TaskJob[dict[str, int], int]):
    name = "check"
    retry = at_most(2)

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: dict[str, int]) -> None:
        run.state += event["price"]

    async def execute(self, run: TaskRun[int]) -> None: ...


class Mended(Check):
    async def on_event(self, run: TaskRun[int], event: dict[str, int]) -> None:
        run.state += event.get("price", 0)


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    """A server of this session alone: its lists have all that there is."""
    async with EmbeddedServer(ui=False) as server:
        await Operator(server.target)("setup")
        yield server


def session() -> list[tuple[str, str]]:
    """Each command of the page, with what it printed."""
    found: list[tuple[str, str]] = []
    for block in re.findall(rf"^{re.escape(COMMAND)}.*\n(?:(?:    .*)?\n)*", PAGE, re.MULTILINE):
        command, _, printed = block.partition("\n")
        found.append((command.removeprefix(COMMAND), printed))
    return found


def comparable(text: str) -> str:
    """What is the same each time: no times, processes and places, and no ends of lines."""
    for changing, word in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"\d+(\.\d+)? (ms|s|min|h)( \d+ s)?\b", "SPAN"),
        (r"\d+@[\w.-]+", "WORKER"),
        (r"--operation \w+", "OPERATION"),
        (r'File ".*"', "FILE"),
        (r"line \d+", "LINE"),
    ):
        text = re.sub(changing, word, text)
    return " ".join(text.split())


async def test_each_command_prints_what_the_page_says(
    server: EmbeddedServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", queue)
    operate = Operator(server.target, COLUMNS="100")
    client = await Client.connect(server.target)
    DOWN.update(("acct-017", "acct-042", "acct-108"))
    steps = session()
    roll_out = [command for command, _ in steps].index(ROLL_OUT)
    async with running_worker(client, queue, Poll(), Check()) as jobs:
        await begin(jobs)
        for command, printed in steps[:roll_out]:
            # The service is back for the one that is retried first, then for all.
            if "trigger continuous" in command:
                DOWN.discard("acct-017")
            if "trigger --job" in command:
                DOWN.clear()
            await play(operate, command, printed)
    async with running_worker(client, queue, Poll(), Mended()):
        for command, printed in steps[roll_out + 1 :]:
            await play(operate, command, printed)


async def begin(jobs: JobClient) -> None:
    for number in (1, 17, 42, 108):
        await jobs.continuous(Poll, f"acct-{number:03}").start()
    for number in range(1, 10):
        event = {"sku": 1} if number == 7 else {"price": 5}
        await jobs.task(Check, f"order-{number}").send(event)


async def play(operate: Operator, command: str, printed: str) -> None:
    words = shlex.split(command)[1:]
    expected, said = comparable(printed), ""

    async def same() -> bool:
        nonlocal said
        said = await operate(*words)
        return comparable(said) == expected

    if words[0] in ("list", "status"):
        # What was told before has its effect, and visibility knows it, a moment later.
        try:
            await eventually(same, every=0.3)
        except AssertionError:
            assert comparable(said) == expected
    else:
        assert await same(), said
