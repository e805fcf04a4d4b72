"""`durable-jobs worker`, `python worker.py` and `run_worker`."""

import asyncio
import resource
import signal
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
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

ROOT = Path(__file__).parent.parent
Event = dict[str, object]
Add = Callable[..., Awaitable[None]]
WORKER = ("-m", "durable_jobs.cli", "worker")

JOBS = """
    import asyncio, time
    from contextlib import asynccontextmanager
    from datetime import timedelta
    from durable_jobs import DebounceJob

    class Quick(DebounceJob[dict, dict]):
        name = "quick"
        flush_after = timedelta(milliseconds=50)

        async def execute(self, run):
            print("executed", run.key, flush=True)

    class Slow(DebounceJob[dict, dict]):
        name = "slow"
        flush_after = timedelta(milliseconds=50)

        async def execute(self, run):
            print("started", run.key, flush=True)
            try:
                await asyncio.sleep(run.state["seconds"])
            except asyncio.CancelledError:
                print("cancelled", run.key, flush=True)
                raise
            print("finished", run.key, flush=True)

    class Stubborn(DebounceJob[dict, dict]):
        name = "stubborn"
        flush_after = timedelta(milliseconds=50)

        def execute(self, run):
            print("started", run.key, flush=True)
            time.sleep(300)

    class Deaf(DebounceJob[dict, dict]):
        name = "deaf"
        flush_after = timedelta(milliseconds=50)

        async def execute(self, run):
            print("started", run.key, flush=True)
            while True:
                try:
                    await asyncio.sleep(300)
                except asyncio.CancelledError:
                    print("ignored", run.key, flush=True)

    class Nameless(DebounceJob[dict, dict]):
        flush_after = timedelta(seconds=1)

        async def execute(self, run):
            pass

    jobs = [Quick(), Slow(), Stubborn(), Deaf()]

    def listed():
        return [Quick()]

    @asynccontextmanager
    async def opened():
        print("opened", flush=True)
        yield [Quick()]
        print("closed", flush=True)

    slow_only = [Slow()]
    wrong = [Nameless()]
    number = 7
    numbers = [1, 2]
    a_class = [Quick]
    single = Quick()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder, with `shop.py` in it."""
    (tmp_path / "shop.py").write_text(textwrap.dedent(JOBS))
    (tmp_path / "broken.py").write_text("import shop\n\n1 / 0\n")
    (tmp_path / "needy.py").write_text("import no_such_package\n")
    return tmp_path


@pytest.fixture
def add(client: Client, queue: str) -> Add:
    return adding(client, queue)


def start(folder: Path, server: EmbeddedServer, queue: str, *arguments: str) -> Python:
    """A worker in `folder`, of the jobs `shop:jobs` unless `arguments` say otherwise."""
    wanted = arguments if "--jobs" in arguments else ("--jobs", "shop:jobs", *arguments)
    return Python(
        *WORKER,
        *wanted,
        cwd=folder,
        TEMPORAL_ADDRESS=server.target,
        DURABLE_JOBS_TASK_QUEUE=queue,
    )


def adding(client: Client, queue: str) -> Add:
    """Adds an event for a job of a name, to a key of this queue alone."""
    jobs = JobClient(client, task_queue=queue)

    async def add(name: str, key: str, **event: object) -> None:
        await jobs.debounce(NAMED[name], f"{key}:{queue}").add(event)

    return add


class Quick(DebounceJob[Event, Event]):
    """Stands for the class of the same name in the worker, as the others do."""

    name = "quick"
    flush_after = timedelta(milliseconds=50)

    async def execute(self, run: DebounceRun[Event]) -> None:
        """Done by the worker."""


class Slow(Quick):
    name = "slow"


class Stubborn(Quick):
    name = "stubborn"


class Deaf(Quick):
    name = "deaf"


NAMED = {job.name: job for job in (Quick, Slow, Stubborn, Deaf)}


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


async def test_a_worker_runs_jobs_and_ends_with_code_0_at_sigterm(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue) as worker:
        await add("quick", "a:b")
        await worker.line("executed a:b")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code() == 0


async def test_ctrl_c_ends_a_worker_in_order_too(
    folder: Path, server: EmbeddedServer, queue: str
) -> None:
    with start(folder, server, queue) as worker:
        await worker.line("Working on task queue")
        worker.signal(signal.SIGINT)
        assert await worker.exit_code() == 0


async def test_jobs_of_several_modules_share_a_worker(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    arguments = ("--jobs", "shop:listed", "--jobs", "shop:slow_only")
    with start(folder, server, queue, *arguments) as worker:
        await add("quick", "one")
        await worker.line("executed one")
        await add("slow", "two", seconds=0)
        await worker.line("finished two")


async def test_what_the_jobs_need_is_opened_first_and_closed_last(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue, "--jobs", "shop:opened") as worker:
        await worker.line("opened")
        await add("quick", "one")
        await worker.line("executed one")
        worker.signal(signal.SIGTERM)
        await worker.line("closed")
        assert await worker.exit_code() == 0


async def test_a_running_attempt_finishes_within_the_grace_time(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue) as worker:
        await add("slow", "one", seconds=1)
        await worker.line("started one")
        worker.signal(signal.SIGTERM)
        await worker.line("finished one")
        assert await worker.exit_code() == 0


async def test_an_instance_whose_attempt_ends_while_its_worker_drains_goes_on_at_once_elsewhere(
    folder: Path, server: EmbeddedServer, client: Client, queue: str, add: Add
) -> None:
    with start(folder, server, queue) as worker:
        await add("slow", "one", seconds=8)
        await worker.line("started one")
        with start(folder, server, queue) as other:
            await other.line("Working on task queue")
            worker.signal(signal.SIGTERM)
            await worker.line("finished one")
            # Not only after the 10 s that a task queue of one worker, or a lost task, waits.
            async with asyncio.timeout(5):
                await client.get_workflow_handle(f"debounce:slow:one:{queue}").result()
            assert await worker.exit_code() == 0


async def test_a_draining_worker_takes_no_new_work(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue) as worker:
        await add("slow", "one", seconds=1)
        await worker.line("started one")
        worker.signal(signal.SIGTERM)
        await worker.line("Stopping")
        await add("quick", "late")
        assert await worker.exit_code() == 0
        assert "executed late" not in worker.text
    with start(folder, server, queue) as next_worker:
        await next_worker.line("executed late")


async def test_an_attempt_that_outlasts_the_grace_time_is_cancelled(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue, "--grace", "0.2") as worker:
        await add("slow", "one", seconds=300)
        await worker.line("started one")
        worker.signal(signal.SIGTERM)
        await worker.line("cancelled one")
        assert await worker.exit_code() == 0


@pytest.mark.parametrize("job", ["stubborn", "deaf"])
async def test_a_handler_that_ignores_its_cancellation_does_not_keep_the_process(
    job: str, folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue, "--grace", "0.1") as worker:
        await add(job, "one")
        await worker.line("started one")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code(within=12) == 0


async def test_a_second_signal_ends_the_worker_at_once(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue, "--grace", "60") as worker:
        await add("slow", "one", seconds=300)
        await worker.line("started one")
        worker.signal(signal.SIGTERM)
        await worker.line("Stopping")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code(within=5) == -signal.SIGTERM


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


async def test_a_worker_that_waits_for_temporal_ends_at_once_at_sigterm(folder: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with Python(*WORKER, "--jobs", "shop:jobs", cwd=folder, TEMPORAL_ADDRESS=nobody) as worker:
        await worker.line("Next try in")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code(within=2) == 0


async def test_a_worker_outlives_its_server_and_says_so(folder: Path, queue: str) -> None:
    async with EmbeddedServer(ui=False) as server:
        with start(folder, server, queue) as worker:
            await worker.line("Working on task queue")
            await server.kill()
            await worker.line(f"Temporal does not answer at {server.target}")
            await server.restart()
            add = adding(await Client.connect(server.target), queue)
            await add("quick", "after")
            await worker.line("executed after")
            await worker.line("answers again")


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
