"""`durable-jobs worker`, `python worker.py` and `run_worker`."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs.client import JobClient
from durable_jobs.definitions import DebounceJob, DebounceRun
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from durable_jobs.worker import run_worker
from tests.support import Python, eventually
from tests.support.shop import WORKER, Add, Event, adding, start

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("shop", ["module:attribute"]),
        ("nowhere:jobs", ["no module 'nowhere'", "installed"]),
        ("shop.deeper:jobs", ["shop"]),
        ("broken:jobs", ["broken.py", "line 3", "ZeroDivisionError"]),
        ("needy:jobs", ["needy.py", "no_such_package"]),
        ("shop:jbos", ["no attribute 'jbos'", "jobs"]),
        ("shop:number", ["int", "sequence of jobs"]),
        ("shop:numbers", ["int is not a job"]),
        ("shop:a_class", ["Quick is a class", "Quick()"]),
        ("shop:single", ["sequence of jobs", "[Quick()]"]),
        ("shop:wrong", ["Nameless", "name"]),
    ],
)
async def test_jobs_that_cannot_be_used_end_the_worker_with_code_2_and_a_reason(
    folder: Path, reference: str, words: list[str]
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with Python(*WORKER, "--jobs", reference, cwd=folder, TEMPORAL_ADDRESS=nobody) as worker:
        assert await worker.exit_code() == 2
        for word in words:
            assert word in worker.text
        assert "durable_jobs/" not in worker.text


@pytest.mark.parametrize(
    ("reference", "sentence", "words"),
    [
        ("unset:jobs", "unset cannot be imported: KeyError: 'TOKEN'", ["unset.py", "shop.py"]),
        ("broken:jobs", "broken cannot be imported: ZeroDivisionError: division by zero", []),
        ("misspelt:jobs", "misspelt cannot be imported: SyntaxError: ", ["line 3", "shop.Quick("]),
        ("endless:jobs", "endless cannot be imported: RecursionError: ", ["line 2"]),
        ("shop:needy", "shop.needy cannot make its jobs: KeyError: 'TOKEN'", ["in __init__"]),
        ("shop:needy_later", "shop.needy_later cannot make its jobs: KeyError: 'TOKEN'", []),
        (
            "shop:never_opened",
            "shop.never_opened cannot make its jobs: RuntimeError: no settings, nowhere",
            ["behind it: KeyError: 'TOKEN'"],
        ),
    ],
)
async def test_code_of_the_users_that_fails_is_told_in_a_sentence_and_then_with_its_place(
    folder: Path, reference: str, sentence: str, words: list[str]
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with Python(*WORKER, "--jobs", reference, cwd=folder, TEMPORAL_ADDRESS=nobody) as worker:
        assert await worker.exit_code() == 2
        first, *more = worker.text.strip().splitlines()
        assert first.startswith(f"durable-jobs: {sentence}")
        assert len(more) <= 20
        for word in words:
            assert word in "\n".join(more)
        assert not any(name in worker.text for name in ("Traceback", "contextlib", "importlib"))


async def test_a_wrong_setting_ends_the_worker_with_code_2_and_names_the_variable(
    folder: Path,
) -> None:
    with Python(
        *WORKER, "--jobs", "shop:jobs", cwd=folder, DURABLE_JOBS_TRACKING_URL="nonsense"
    ) as worker:
        assert await worker.exit_code() == 2
        assert "DURABLE_JOBS_TRACKING_URL" in worker.text


async def test_without_jobs_the_command_says_what_is_missing(folder: Path) -> None:
    with Python(*WORKER, cwd=folder) as worker:
        assert await worker.exit_code() == 2
        assert "--jobs" in worker.text


async def test_an_unknown_namespace_ends_the_worker_with_code_1(
    folder: Path, server: EmbeddedServer
) -> None:
    with Python(
        *WORKER,
        "--jobs",
        "shop:jobs",
        cwd=folder,
        TEMPORAL_ADDRESS=server.target,
        TEMPORAL_NAMESPACE="nowhere",
    ) as worker:
        assert await worker.exit_code() == 1
        assert "nowhere" in worker.text


async def test_jobs_of_several_modules_share_a_worker(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    arguments = ("--jobs", "shop:listed", "--jobs", "shop:slow_only")
    with start(folder, server, queue, *arguments) as worker:
        await add("quick", "one")
        await worker.line("executed one")
        await add("slow", "two", seconds=0)
        await worker.line("finished two")


async def test_a_worker_waits_for_temporal_and_names_the_address(folder: Path, queue: str) -> None:
    port = free_port()
    with Python(
        *WORKER,
        "--jobs",
        "shop:jobs",
        cwd=folder,
        TEMPORAL_ADDRESS=f"127.0.0.1:{port}",
        DURABLE_JOBS_TASK_QUEUE=queue,
    ) as worker:
        await worker.line(f"Temporal does not answer at 127.0.0.1:{port}")
        await worker.line("Next try in")
        async with EmbeddedServer(port=port, ui=False) as server:
            add = adding(await Client.connect(server.target), queue)
            await add("quick", "one")
            await worker.line("executed one")
            worker.signal(signal.SIGTERM)
            assert await worker.exit_code() == 0


async def test_a_worker_outlives_its_server_and_says_so(folder: Path, queue: str) -> None:
    async with EmbeddedServer(ui=False) as server:
        with start(folder, server, queue) as worker:
            await worker.line("Working on task queue")
            await server.kill()
            await worker.line(f"Temporal does not answer at {server.target}")
            await server.restart()
            add = adding(await Client.connect(server.target), queue)
            await add("quick", "after")
            await worker.lines("executed after", "answers again")


async def test_a_worker_takes_its_first_task_with_little_work_and_stays_small(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    await add("quick", "one")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with start(folder, server, queue) as worker:
        await worker.line("executed one")
        assert worker.megabytes < 100
        worker.signal(signal.SIGTERM)
        await worker.exit_code()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The goal is 1.5 s to the first task. Processor time tells of it on a busy machine too.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


async def test_the_script_in_the_checkout_does_the_same_as_the_command(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with Python(
        str(ROOT / "worker.py"),
        "--jobs",
        "shop:jobs",
        cwd=folder,
        TEMPORAL_ADDRESS=server.target,
        DURABLE_JOBS_TASK_QUEUE=queue,
    ) as worker:
        await add("quick", "one")
        await worker.line("executed one")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code() == 0


async def test_a_program_runs_a_worker_on_its_own_client_until_it_says_stop(
    client: Client, queue: str
) -> None:
    steps: list[str] = []

    class Mine(DebounceJob[Event, Event]):
        name = "mine"
        flush_after = timedelta(milliseconds=50)

        async def execute(self, run: DebounceRun[Event]) -> None:
            steps.append(f"executed {run.key}")

    @asynccontextmanager
    async def opened() -> AsyncIterator[list[Mine]]:
        steps.append("opened")
        yield [Mine()]
        steps.append("closed")

    stop = asyncio.Event()
    running = asyncio.create_task(run_worker(opened, client=client, task_queue=queue, stop=stop))
    await JobClient(client, task_queue=queue).debounce(Mine, queue).add({"a": 1})
    await eventually(lambda: f"executed {queue}" in steps)
    stop.set()
    async with asyncio.timeout(10):
        await running
    assert steps == ["opened", f"executed {queue}", "closed"]
