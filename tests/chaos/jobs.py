"""The jobs: each handler writes down what it does, and fails or dawdles now and then."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    Retry,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)

AGAIN = Retry(initial=timedelta(milliseconds=50), maximum=timedelta(seconds=1))
BEAT = timedelta(seconds=2)
TICKS = 4


class Note(BaseModel):
    """What an attempt wrote down. `step` is `began`, `fails` or, as its last act, `done`."""

    instance: str
    key: str
    """The idempotency key, which tells runs apart."""

    run: int
    attempt: int
    handler: str
    step: str
    events: list[str] = []
    """The ids of the events that the run executed."""

    first: bool = False
    """Whether it is the life's first event."""

    scheduled: bool = False
    ends: bool = False


class Notebook:
    """An append-only file that many processes write to; each line is one write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, note: Note) -> None:
        """Append a note."""
        line = note.model_dump_json(exclude_defaults=True) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def read(self) -> Iterator[Note]:
        """All notes, in the order in which they were written."""
        if self._path.exists():
            with self._path.open() as lines:
                yield from (Note.model_validate(json.loads(line)) for line in lines)


@dataclass
class Story:
    """One attempt of a handler, written down as it goes."""

    book: Notebook
    run: Any
    handler: str

    async def tell(self, **told: Any) -> None:
        """Begin, take some time, fail now and then, be done."""
        self._note("began")
        chance = _percent(f"{self.run.idempotency_key}/{self.run.attempt}")
        await asyncio.sleep(0.2 if chance < 10 else 0.005)
        if chance >= 85:
            self._note("fails")
            raise RuntimeError("as planned")
        self._note("done", **told)

    def _note(self, step: str, **told: Any) -> None:
        run = self.run
        self.book.write(
            Note(
                instance=run.instance_id,
                key=run.idempotency_key,
                run=run.run_count,
                attempt=run.attempt,
                handler=self.handler,
                step=step,
                **told,
            )
        )


def _percent(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") % 100


class Ids(BaseModel):
    """A state: the ids of events."""

    ids: list[str] = []


class Gather(DebounceJob[Ids]):
    """Gathers the ids of a window."""

    name = "chaos-gather"
    flush_after = timedelta(milliseconds=300)
    max_events = 20
    retry = AGAIN
    heartbeat_timeout = BEAT

    def __init__(self, book: Notebook) -> None:
        self._book = book

    def reduce(self, state: Ids | None, event: Ids) -> Ids:
        """All of them."""
        return Ids(ids=[*(state.ids if state else []), *event.ids])

    async def execute(self, run: DebounceRun[Ids]) -> None:
        """Write them down."""
        await Story(self._book, run, "execute").tell(events=run.state.ids)


class Tick(ContinuousJob[Ids]):
    """Ticks a few times, then ends."""

    name = "chaos-tick"
    schedule = Every(timedelta(seconds=1))
    retry = Retry(max_attempts=1000, initial=timedelta(milliseconds=50), maximum=BEAT)
    heartbeat_timeout = BEAT

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def execute(self, run: ContinuousRun[Ids]) -> None:
        """Count the run in the state."""
        run.state.ids.append(f"{run.key}/{run.run_count}")
        ends = len(run.state.ids) == TICKS
        await Story(self._book, run, "execute").tell(events=run.state.ids[-1:], ends=ends)
        if ends:
            run.terminate("ticked enough")


class Handle(TaskJob[Ids, Ids]):
    """Handles ids one by one; after the one that ends with `last` its alarm ends it."""

    name = "chaos-handle"
    retry = Retry(max_attempts=1000, initial=timedelta(milliseconds=50), maximum=BEAT)
    heartbeat_timeout = BEAT

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def on_event(self, run: TaskRun[Ids], event: Ids) -> None:
        """Keep them; set the alarm after the last one."""
        run.state.ids += event.ids
        last = event.ids[-1].endswith("last")
        story = Story(self._book, run, "on_event")
        await story.tell(events=event.ids, first=run.is_first_event, scheduled=last)
        if last:
            run.schedule(timedelta(milliseconds=200))

    async def execute(self, run: TaskRun[Ids]) -> None:
        """End."""
        await Story(self._book, run, "execute").tell(ends=True)
        run.terminate("all handled")


class Deliver(WorkerPoolJob[Ids]):
    """Works off ids, three at a time."""

    name = "chaos-deliver"
    concurrency = 3
    retry = Retry(max_attempts=1000, initial=timedelta(milliseconds=50), maximum=BEAT)
    heartbeat_timeout = BEAT

    def __init__(self, book: Notebook) -> None:
        self._book = book

    async def execute(self, run: WorkerPoolRun[Ids]) -> None:
        """Write them down."""
        await Story(self._book, run, "execute").tell(events=run.event.ids)


def all_jobs(path: Path) -> list[Any]:
    """One of each."""
    book = Notebook(path)
    return [Gather(book), Tick(book), Handle(book), Deliver(book)]
