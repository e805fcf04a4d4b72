"""What a worker and an instance cost: time, memory, imports, history."""

import resource
from pathlib import Path

from temporalio.client import Client

from durable_jobs import JobClient
from durable_jobs.embedded import EmbeddedServer
from tests.lives import tracked_worker
from tests.support import Python
from tests.tracked_jobs import Basket, Beat, Gather, Handle, Item, all_jobs
from tests.tracking.collector import Collector

ROOT = Path(__file__).parents[1]
COMMAND = ("-m", "durable_jobs.cli", "worker", "--jobs", "tests.tracked_jobs:all_jobs")


async def test_importing_the_library_imports_no_web_or_terminal_library() -> None:
    program = """
        import sys
        import durable_jobs
        import durable_jobs.tracking
        others = {"httpx", "starlette", "uvicorn", "typer", "rich"}
        print("loaded:", *sorted(others & {*sys.modules}))
    """
    with Python.code(program) as process:
        assert await process.exit_code() == 0
        assert process.text.strip() == "loaded:"


async def test_a_worker_takes_its_first_task_at_once_and_needs_little_memory(
    server: EmbeddedServer, client: Client, queue: str
) -> None:
    collector = Collector()
    await collector.start()
    environment = {
        **server.environment,
        "DURABLE_JOBS_TASK_QUEUE": queue,
        "DURABLE_JOBS_TRACKING_URL": collector.url,
    }
    task = JobClient(client, task_queue=queue).task(Handle, queue)
    await task.send(Item(word="end"))
    imports = await cpu_time_of_imports()
    used = cpu_time_of_children()
    with Python(*COMMAND, cwd=ROOT, **environment) as worker:
        await client.get_workflow_handle(task.instance_id).result()
        memory = worker.megabytes
    await collector.stop()
    # What it computes, start and end included: waiting for a core says nothing about a worker, nor
    # does how fast the machine is.
    assert cpu_time_of_children() - used <= 2.5 * imports
    assert memory <= 100


async def cpu_time_of_imports() -> float:
    """What each worker's Python spends before any of our code runs."""
    used = cpu_time_of_children()
    program = "import temporalio.worker, pydantic_settings, httpx, rich, typer"
    with Python.code(program) as process:
        assert await process.exit_code() == 0
    return cpu_time_of_children() - used


def cpu_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def history_length(client: Client, instance_id: str) -> int:
    handle = client.get_workflow_handle(instance_id)
    await handle.result()
    return len((await handle.fetch_history()).events)


async def test_a_tracked_tick_costs_at_most_13_events_of_history(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, all_jobs()) as worker:
        lengths: list[int] = []
        for ticks in (2, 7):
            poll = worker.jobs.continuous(Beat, f"{queue}-{ticks}")
            await poll.start(Basket(total=ticks))
            lengths.append(await history_length(client, poll.instance_id))
    short, long = lengths
    assert (long - short) / 5 <= 13


async def test_a_tracked_window_of_one_event_costs_at_most_20_events_of_history(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, all_jobs()) as worker:
        digest = worker.jobs.debounce(Gather, queue)
        await digest.add(Item())
        assert await history_length(client, digest.instance_id) <= 20
