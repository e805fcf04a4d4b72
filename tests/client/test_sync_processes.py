"""The blocking client in processes that fork: by hand, in gunicorn and in Celery."""

import asyncio
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from tests.client.sync_jobs import Letters
from tests.support import Python, eventually
from tests.support.jobs import new_key, running_worker
from tests.support.recipes import write_recipe

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


async def letters_of(client: Client, queue: str, key: str) -> Counter[str]:
    """The events that an instance has."""
    async with running_worker(client, queue, Letters()) as jobs:
        return Counter(await jobs.debounce(Letters, key).state() or [])


FORKS = """
    import os, sys, threading
    from durable_jobs import SyncJobClient
    from tests.client.sync_jobs import Letters

    def add(name, count):
        for number in range(count):
            letters.add(f"{name}-{number}")

    def in_threads(count, call):
        threads = [threading.Thread(target=call, args=[n]) for n in range(count)]
        [thread.start() for thread in threads]
        return threads

    letters = SyncJobClient.connect(lazy=True).debounce(Letters, sys.argv[1])
    children = []
    for child in range(10):
        pid = os.fork()
        if pid == 0:
            for thread in in_threads(4, lambda n: add(f"child-{child}-{n}", 10)):
                thread.join()
            sys.exit(9)
        children.append(pid)
    for thread in in_threads(4, lambda n: add(f"parent-{n}", 100)):
        thread.join()
    print("ended with", {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children})
"""


async def test_forked_processes_use_their_parents_client_and_lose_nothing(
    server: EmbeddedServer, client: Client, queue: str
) -> None:
    key = new_key()
    program = Python.code(FORKS, key, TEMPORAL_ADDRESS=server.target, DURABLE_JOBS_TASK_QUEUE=queue)
    assert await program.exit_code() == 0, program.text
    assert "ended with {9}" in program.text
    wanted = [f"parent-{thread}-{n}" for thread in range(4) for n in range(100)]
    for child in range(10):
        wanted += [f"child-{child}-{thread}-{n}" for thread in range(4) for n in range(10)]
    assert await letters_of(client, queue, key) == Counter(wanted)


async def test_processes_of_a_pool_use_the_client_of_their_module(
    server: EmbeddedServer, client: Client, queue: str, tmp_path: Path
) -> None:
    key = new_key()
    program = Python.code(
        """
        import multiprocessing, sys
        from durable_jobs import SyncJobClient
        from tests.client.sync_jobs import Letters

        jobs = SyncJobClient.connect(lazy=True)
        def add(number):
            jobs.debounce(Letters, sys.argv[1]).add(str(number))

        with multiprocessing.get_context("fork").Pool(4) as pool:
            pool.map(add, range(100))
        """,
        key,
        TEMPORAL_ADDRESS=server.target,
        DURABLE_JOBS_TASK_QUEUE=queue,
    )
    assert await program.exit_code() == 0, program.text
    assert await letters_of(client, queue, key) == Counter(str(n) for n in range(100))


# -- gunicorn and Celery, as docs/sync.md shows them -------------------------------------------


def held(folder: Path) -> None:
    """The docs' digest, which flushes only when told to, so that its events can be counted."""
    write_recipe(folder, "sync.md", "digest.py")
    file = folder / "digest.py"
    file.write_text(file.read_text().replace("seconds=1", "hours=1"))


async def texts_of(client: Client, queue: str, key: str) -> Counter[str]:
    """The events of an instance of the docs' digest: a job of another class with its name."""

    class Digest(Letters):
        name = "digest"

    async with running_worker(client, queue, Digest()) as jobs:
        return Counter(await jobs.debounce(Digest, key).state() or [])


def fetch(url: str) -> int:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status


async def fetch_all(urls: list[str], at_once: int) -> list[int]:
    """The status of each answer; so many requests are under way at a time."""
    slots = asyncio.Semaphore(at_once)

    async def one(url: str) -> int:
        async with slots:
            return await asyncio.to_thread(fetch, url)

    return await asyncio.gather(*map(one, urls))


def answers(url: str) -> Callable[[], object]:
    return lambda: asyncio.to_thread(fetch, url)


async def test_a_prefork_server_with_threads_loses_no_event(
    server: EmbeddedServer, client: Client, queue: str, tmp_path: Path
) -> None:
    held(tmp_path)
    write_recipe(tmp_path, "sync.md", "web.py")
    key, port = new_key(), free_port()
    arguments = ["--preload", "--workers", "3", "--threads", "5", "--bind", f"127.0.0.1:{port}"]
    with Python(
        *["-m", "gunicorn", *arguments, "web:app"],
        cwd=tmp_path,
        TEMPORAL_ADDRESS=server.target,
        DURABLE_JOBS_TASK_QUEUE=queue,
    ) as gunicorn:
        await eventually(answers(f"http://127.0.0.1:{port}/{key}/up"))
        urls = [f"http://127.0.0.1:{port}/{key}/{number}" for number in range(300)]
        assert set(await fetch_all(urls, 20)) == {202}
        gunicorn.signal(signal.SIGTERM)
        assert await gunicorn.exit_code() == 0, gunicorn.text
    texts = await texts_of(client, queue, key)
    assert texts.pop("up") >= 1
    assert texts == Counter(map(str, range(300)))


CELERY = """
broker_url = "filesystem://"
broker_transport_options = {
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control",
    "polling_interval": 0.01,
}
worker_prefetch_multiplier = 1
"""


async def test_celery_tasks_lose_no_event(
    server: EmbeddedServer, client: Client, queue: str, tmp_path: Path
) -> None:
    held(tmp_path)
    write_recipe(tmp_path, "sync.md", "tasks.py")
    (tmp_path / "celeryconfig.py").write_text(CELERY)
    (tmp_path / "queue").mkdir()
    key = new_key()
    environment = {"TEMPORAL_ADDRESS": server.target, "DURABLE_JOBS_TASK_QUEUE": queue}
    sender = Python.code(
        f"from tasks import note\nfor n in range(60): note.delay({key!r}, str(n))",
        cwd=tmp_path,
        **environment,
    )
    assert await sender.exit_code() == 0, sender.text
    with Python(
        *["-m", "celery", "--app", "tasks", "worker", "--concurrency", "3", "--loglevel", "INFO"],
        cwd=tmp_path,
        **environment,
    ) as celery:
        await eventually(lambda: celery.text.count("succeeded") == 60)
        celery.signal(signal.SIGTERM)
        assert await celery.exit_code() == 0, celery.text
    assert await texts_of(client, queue, key) == Counter(map(str, range(60)))
