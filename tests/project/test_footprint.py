"""What a worker and an instance cost: time, memory, imports, history."""

import resource
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs import Every, JobClient
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.tracking import MemorySink, NoopSink
from tests.support import Python
from tests.support.lives import tracked_worker
from tests.tracking.collector import Collector
from tests.tracking.jobs import Basket, Beat, Gather, Handle, Item

ROOT = Path(__file__).parents[2]
COMMAND = ("-m", "durable_jobs.cli", "worker", "--jobs", "tests.tracking.jobs:all_jobs")


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


class Slow(Beat):
    """Waits long enough between two ticks to send what it has before."""

    name = "slow"
    schedule = Every(timedelta(seconds=2.2))


async def cost_of_a_tick(client: Client, queue: str, job: Beat, *counts: int) -> float:
    """The history events of one more tick."""
    async with tracked_worker(client, queue, [job]) as worker:
        lengths: list[int] = []
        for ticks in counts:
            poll = worker.jobs.continuous(type(job), f"{queue}-{ticks}")
            await poll.start(Basket(total=ticks))
            lengths.append(await history_length(client, poll.instance_id))
    short, long = lengths
    return (long - short) / (counts[1] - counts[0])


async def test_a_quick_tracked_tick_costs_at_most_13_events_of_history(
    client: Client, queue: str
) -> None:
    assert await cost_of_a_tick(client, queue, Beat(), 2, 12) <= 13


async def test_a_tracked_tick_costs_at_most_18_events_of_history(
    client: Client, queue: str
) -> None:
    assert await cost_of_a_tick(client, queue, Slow(), 2, 4) <= 18


@pytest.mark.parametrize(("tracked", "limit"), [(True, 24), (False, 17)])
async def test_a_short_window_of_one_event_costs_few_events_of_history(
    client: Client, queue: str, tracked: bool, limit: int
) -> None:
    sink = MemorySink() if tracked else NoopSink()
    async with tracked_worker(client, queue, [Gather()], sink=sink) as worker:
        digest = worker.jobs.debounce(Gather, queue)
        await digest.add(Item())
        assert await history_length(client, digest.instance_id) <= limit


class Longer(Gather):
    """Asks its worker, and tells of its window, at the beginning."""

    name = "longer"
    flush_after = timedelta(seconds=2.2)


@pytest.mark.parametrize("raw", [True, False])
async def test_another_tracked_window_of_one_event_costs_at_most_30_events_of_history(
    client: Client, queue: str, raw: bool
) -> None:
    async with tracked_worker(client, queue, [Gather(), Longer()]) as worker:
        if raw:
            instance = f"debounce:gather:{queue}"
            start = {"job": "gather", "key": queue}
            await client.start_workflow(
                "DebounceJob",
                start,
                id=instance,
                task_queue=queue,
                start_signal="add",
                start_signal_args=[{}],
            )
        else:
            digest = worker.jobs.debounce(Longer, queue)
            await digest.add(Item())
            instance = digest.instance_id
        assert await history_length(client, instance) <= 30
