"""A user's folder with jobs in it, and workers that are processes of their own."""

import textwrap
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from durable_jobs.client import JobClient
from durable_jobs.definitions import DebounceJob, DebounceRun
from durable_jobs.embedded import EmbeddedServer
from tests.support import Python

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

    class Needy(Quick):
        name = "needy"

        def __init__(self, settings):
            self.token = settings["TOKEN"]

    def needy():
        return [Needy({})]

    async def needy_later():
        return [Needy({})]

    @asynccontextmanager
    async def never_opened():
        try:
            {}["TOKEN"]
        except KeyError as error:
            raise RuntimeError("no settings,\\nnowhere") from error
        yield []

    slow_only = [Slow()]
    wrong = [Nameless()]
    number = 7
    numbers = [1, 2]
    a_class = [Quick]
    single = Quick()
"""


def write_shop(folder: Path) -> Path:
    """Put `shop.py` into a folder, beside modules that cannot be imported."""
    (folder / "shop.py").write_text(textwrap.dedent(JOBS))
    (folder / "broken.py").write_text("import shop\n\n1 / 0\n")
    (folder / "misspelt.py").write_text("import shop\n\njobs = [shop.Quick(]\n")
    (folder / "endless.py").write_text("def f():\n    f()\n\nf()\n")
    (folder / "unset.py").write_text("import shop\n\njobs = [shop.Needy({})]\n")
    (folder / "needy.py").write_text("import no_such_package\n")
    return folder


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
