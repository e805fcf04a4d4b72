"""How a worker process ends: what it finishes, what it leaves, and when."""

import asyncio
import signal
import textwrap
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from tests.support import Python
from tests.support.shop import WORKER, Add, start


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
            async with asyncio.timeout(9):
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
        assert await worker.exit_code() == 0


PROGRAM = """
    import asyncio
    from datetime import timedelta
    from durable_jobs.worker import run_worker
    from shop import jobs

    async def main():
        await run_worker(jobs, grace=timedelta(seconds=0.1))
        print("run_worker returned", flush=True)

    asyncio.run(main())
    print("the program goes on", flush=True)
"""


@pytest.mark.parametrize("job", ["stubborn", "deaf"])
async def test_a_program_with_a_worker_ends_as_soon_as_the_command_does(
    job: str, folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM))
    environment = {"TEMPORAL_ADDRESS": server.target, "DURABLE_JOBS_TASK_QUEUE": queue}
    with Python("program.py", cwd=folder, **environment) as program:
        for key in ("one", "two"):
            await add(job, key)
            await program.line(f"started {key}")
        program.signal(signal.SIGTERM)
        await program.line("run_worker returned")
        await program.line("the program goes on")
        await program.exit_code()


async def test_a_second_signal_ends_the_worker_at_once(
    folder: Path, server: EmbeddedServer, queue: str, add: Add
) -> None:
    with start(folder, server, queue, "--grace", "60") as worker:
        await add("slow", "one", seconds=300)
        await worker.line("started one")
        worker.signal(signal.SIGTERM)
        await worker.line("Stopping")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code() == -signal.SIGTERM


async def test_a_worker_that_waits_for_temporal_ends_at_once_at_sigterm(folder: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with Python(*WORKER, "--jobs", "shop:jobs", cwd=folder, TEMPORAL_ADDRESS=nobody) as worker:
        await worker.line("Next try in")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code(within=10) == 0
