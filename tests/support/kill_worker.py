"""A worker process that tests kill. Its handlers write down what they do, and wait when told to.

    python -m tests.support.kill_worker TARGET QUEUE FOLDER COLLECTOR_URL [graceful]

In FOLDER, `notes` is what was done, a line each. While `hold` is there, runs of keys that begin
with "held" do not end.
"""

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    JobsPlugin,
    NonRetryable,
    Retry,
    RunFailure,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
    run_worker,
)
from durable_jobs.tracking import HttpSink, Tracking

AGAIN = Retry(initial=timedelta(milliseconds=20), jitter=False)
BEAT = timedelta(seconds=1)
GRACE = timedelta(milliseconds=100)


class Count(BaseModel):
    """A state: a number, and the runs that made it."""

    total: int = 0
    runs: list[int] = []


class Notebook:
    """What handlers do, in a file that outlives their process."""

    def __init__(self, folder: Path) -> None:
        self._notes, self._hold = folder / "notes", folder / "hold"

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self._hold.exists()

    async def note(self, run: Any, handler: str = "", held: str = "held") -> None:
        """Write down that an attempt began; then wait while it is held."""
        self.write(run, handler)
        while run.key.startswith(held) and self.held:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def block(self, run: Any) -> None:
        """Let nothing else run while it is held."""
        while run.key.startswith("held") and self.held:
            time.sleep(0.01)

    def write(self, run: Any, handler: str = "") -> None:
        """Write down where an attempt is."""
        line = f"{run.instance_id} {handler}run={run.run_count} attempt={run.attempt} "
        state = run.state.model_dump_json() if isinstance(run.state, BaseModel) else run.state
        with self._notes.open("a") as notes:
            notes.write(f"{line}state={state} key={run.idempotency_key}\n")


class Sum(DebounceJob[int]):
    """Adds numbers up."""

    name = "sum"
    flush_after = timedelta(milliseconds=100)
    heartbeat_timeout = BEAT
    retry = AGAIN

    def __init__(self, book: Notebook) -> None:
        self._book = book

    def reduce(self, state: int | None, event: int) -> int:
        return (state or 0) + event

    async def execute(self, run: DebounceRun[int]) -> None:
        await self._book.note(run)


class SumPatiently(Sum):
    """Whose attempts outlast a restart of the server."""

    name = "sum-patiently"
    heartbeat_timeout = timedelta(seconds=15)


class SumOnce(Sum):
    """May be tried but once."""

    name = "sum-once"
    retry = Retry(max_attempts=1)
    on_exhausted = "terminate"


class Tick(ContinuousJob[Count]):
    """Counts its runs, and ends after the third."""

    name = "tick"
    schedule = Every(timedelta(seconds=1.5))
    heartbeat_timeout = BEAT
    retry = Retry(max_attempts=10, initial=timedelta(milliseconds=20), jitter=False)

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def execute(self, run: ContinuousRun[Count]) -> None:
        await self._book.note(run)
        run.state.total += 1
        run.state.runs.append(run.run_count)
        if run.state.total == 3:
            run.terminate("done")


class Tally(TaskJob[int, Count]):
    """Adds numbers up, one at a time; 0 ends it."""

    name = "tally"
    heartbeat_timeout = BEAT
    retry = AGAIN

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def on_event(self, run: TaskRun[Count], event: int) -> None:
        await self._book.note(run)
        run.state.total += event
        run.state.runs.append(run.run_count)
        if event == 0:
            run.terminate("done")

    async def execute(self, run: TaskRun[Count]) -> None:
        """No handler sets the alarm."""


class SumTwice(SumOnce):
    """May be tried twice."""

    name = "sum-twice"
    retry = Retry(max_attempts=2, initial=timedelta(milliseconds=20), jitter=False)


class Blocking(TaskJob[int, Count]):
    """Whose first attempt blocks its worker's event loop, while it is held, and ends late."""

    name = "blocking"
    heartbeat_timeout = BEAT
    retry = AGAIN

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def on_event(self, run: TaskRun[Count], event: int) -> None:
        """Block, at the first attempt, until released."""
        self._book.write(run)
        if not run.is_retry:
            self._book.block(run)
        run.state.total += event
        run.state.runs.append(run.attempt)
        run.schedule(timedelta(hours=run.attempt))
        self._book.write(run)

    async def execute(self, run: TaskRun[Count]) -> None:
        """Not reached."""


class Stumble(TaskJob[int, Count]):
    """Whose event 3 waits while it is held, and whose event 2 fails once it was lost."""

    name = "stumble"
    heartbeat_timeout = BEAT
    retry = AGAIN

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def on_event(self, run: TaskRun[Count], event: int) -> None:
        """Write down which event it is."""
        run.state.total = event
        if event == 3:
            await self._book.note(run)
        else:
            self._book.write(run)
        if event == 2 and run.attempt == 2:
            raise ValueError("stumbled")
        run.state.runs.append(event)

    async def execute(self, run: TaskRun[Count]) -> None:
        """Not reached."""


class Stages(TaskJob[str, list[str]]):
    """Goes through all handlers of a task; is held in the one that its key begins with."""

    name = "stages"
    heartbeat_timeout = BEAT
    retry = AGAIN

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def _stage(self, run: TaskRun[list[str]], handler: str, what: str) -> None:
        run.state.append(what)
        await self._book.note(run, f"{handler} ", held=f"{handler}-")

    async def on_event(self, run: TaskRun[list[str]], event: str) -> None:
        await self._stage(run, "on_event", event)
        if event == "bad":
            raise NonRetryable("bad")
        run.schedule(timedelta())

    async def execute(self, run: TaskRun[list[str]]) -> None:
        await self._stage(run, "execute", "alarm")

    async def on_error(self, run: TaskRun[list[str]], error: RunFailure) -> None:
        await self._stage(run, "on_error", "error")

    async def on_idle(self, run: TaskRun[list[str]]) -> None:
        await self._stage(run, "on_idle", "idle")


class Checkpoints(TaskJob[int, list[int]]):
    """Counts up to its event, and keeps how far it is."""

    name = "checkpoints"
    heartbeat_timeout = BEAT
    retry = AGAIN

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def on_event(self, run: TaskRun[list[int]], event: int) -> None:
        while len(run.state) < event:
            run.state.append(len(run.state) + 1)
            await run.checkpoint()
        await self._book.note(run)

    async def execute(self, run: TaskRun[list[int]]) -> None:
        """No handler sets the alarm."""


class Haul(WorkerPoolJob[int]):
    """Hauls loads, in order."""

    name = "haul"
    concurrency = 2
    heartbeat_timeout = BEAT
    retry = Retry(max_attempts=10, initial=timedelta(milliseconds=20), jitter=False)

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def execute(self, run: WorkerPoolRun[int]) -> None:
        await self._book.note(run, f"load={run.event} ", held="")


def all_jobs(folder: Path) -> list[Any]:
    """One of each."""
    book = Notebook(folder)
    return [
        Sum(book),
        SumOnce(book),
        SumTwice(book),
        Tick(book),
        Tally(book),
        Blocking(book),
        Stumble(book),
        Stages(book),
        Checkpoints(book),
        Haul(book),
    ]


async def main(target: str, queue: str, folder: str, url: str, mode: str = "") -> None:
    """Work until killed."""
    client = await Client.connect(target)
    jobs = all_jobs(Path(folder))
    tracking = Tracking(HttpSink(url))
    if mode == "graceful":
        await run_worker(jobs, client=client, task_queue=queue, tracking=tracking, grace=GRACE)
        return
    async with Worker(
        client,
        task_queue=queue,
        plugins=[JobsPlugin(jobs, tracking)],
        # By default the server waits 10 s for a killed worker to go on with what it had cached.
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=500),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
