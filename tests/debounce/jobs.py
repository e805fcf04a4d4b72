"""Debounce jobs that differ in their options, and a bench on which tests drive them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import Client

from durable_jobs import DebounceJob, DebounceRun, JobClient, JobStatus, Retry
from durable_jobs.handles import DebounceHandle
from durable_jobs.tracking import MemorySink, Tracking
from tests.support.jobs import QUICK, at_most, new_key, result_of, running_worker
from tests.support.scripted import Book, Call, Push, Total

Event = TypeVar("Event")
State = TypeVar("State")


def ms(milliseconds: float) -> timedelta:
    """A duration."""
    return timedelta(milliseconds=milliseconds)


class Gather(DebounceJob[Push, Total]):
    """Gathers numbers; `note` says what is wrong with an event."""

    name = "gather"
    flush_after = ms(120)
    retry = QUICK

    def __init__(self, book: Book) -> None:
        self.book = book

    def reduce(self, state: Total | None, event: Push) -> Total:
        state = state or Total()
        if event.note == "raise":
            raise ValueError("no such push")
        state.ns.append(event.n)
        if event.note == "raise late":
            raise ValueError("no such push, noticed late")
        return state

    async def execute(self, run: DebounceRun[Total]) -> None:
        await self.book.play("execute", run)


class Held(Gather):
    """Flushes only when told to."""

    name = "held"
    flush_after = timedelta(hours=1)


class Prompt(Held):
    """Hears soon that it is cancelled: with a heartbeat, three in this time."""

    name = "prompt"
    heartbeat_timeout = timedelta(seconds=1.5)


class Quiet(Gather):
    """For a server that skips time."""

    name = "quiet"
    flush_after = timedelta(seconds=25)
    quiet_for = timedelta(seconds=10)


class Counted(Gather):
    name = "counted"
    flush_after = timedelta(hours=1)
    max_events = 3


class Sized(Gather):
    name = "sized"
    flush_after = timedelta(hours=1)
    max_bytes = 300


class Pausing(Gather):
    name = "pausing"
    retry = at_most(2)


class GoingOn(Gather):
    name = "going-on"
    retry = at_most(2)
    on_exhausted = "continue"


class Ending(Gather):
    name = "ending"
    retry = at_most(2)
    on_exhausted = "terminate"


class Picky(Gather):
    """Does not try again after a `LookupError`."""

    name = "picky"
    retry = Retry(
        max_attempts=5,
        initial=ms(20),
        backoff="fixed",
        jitter=False,
        non_retryable=(LookupError,),
    )


class SlowToRetry(Gather):
    """Waits long after a failure."""

    name = "slow-to-retry"
    retry = Retry(initial=timedelta(hours=1), maximum=timedelta(hours=1), jitter=False)


class Latest(DebounceJob[Push]):
    """No `reduce` of its own, a plain handler, and no flush but when told to."""

    name = "latest"
    flush_after = timedelta(hours=1)

    def __init__(self, book: Book) -> None:
        self.book = book

    def execute(self, run: DebounceRun[Push]) -> None:
        self.book.calls[run.key].append(Call("execute", run.state, run))


JOBS = (
    Gather,
    Held,
    Prompt,
    Quiet,
    Counted,
    Sized,
    Pausing,
    GoingOn,
    Ending,
    Picky,
    SlowToRetry,
    Latest,
)


@dataclass(frozen=True)
class Bench:
    """A worker with these jobs, and what it noted."""

    client: Client
    queue: str
    jobs: JobClient
    book: Book
    sink: MemorySink

    def new(
        self, job: type[DebounceJob[Event, State]], key: str | None = None
    ) -> DebounceHandle[Event, State]:
        """A handle for a key that no other test uses."""
        return self.jobs.debounce(job, key or new_key())

    async def paused(self, job: type[DebounceJob[Event, State]]) -> DebounceHandle[Event, State]:
        """An instance that was paused before its first event."""
        handle = self.new(job)
        await self.client.start_workflow(
            "DebounceJob",
            {"job": job.name, "key": handle.key},
            id=handle.instance_id,
            task_queue=self.queue,
            start_signal="pause",
        )
        return handle

    def calls(self, handle: DebounceHandle[Any, Any]) -> list[Call]:
        """The attempts made for an instance."""
        return self.book.of(handle.key)

    def executed(self, handle: DebounceHandle[Any, Any]) -> list[int]:
        """The numbers of all events that reached `execute`, first attempts alone."""
        return [n for call in self.calls(handle) if call.attempt == 1 for n in call.state.ns]

    def events(self, handle: DebounceHandle[Any, Any], kind: str) -> list[dict[str, Any]]:
        """The tracking events of one type that an instance gave."""
        found = [event for event in self.sink.events if event["instanceId"] == handle.instance_id]
        return [event for event in found if event["type"] == kind]

    async def status(self, handle: DebounceHandle[Any, Any]) -> JobStatus:
        """What an instance says of itself."""
        status = await handle.status()
        assert status is not None
        return status

    async def a_window_passes(self) -> None:
        """Another instance opens a window as short as any, and flushes it."""
        other = self.new(Gather)
        await other.add(Push())
        await self.result(other)

    async def result(self, handle: DebounceHandle[Any, Any]) -> dict[str, Any]:
        """What an instance ended with."""
        return await result_of(self.client, handle.instance_id)


@asynccontextmanager
async def debounce_bench(client: Client) -> AsyncIterator[Bench]:
    """A bench for the tests of one file."""
    book, sink = Book(), MemorySink()
    queue = f"test-{new_key()}"
    jobs = [job(book) for job in JOBS]
    async with running_worker(client, queue, *jobs, tracking=Tracking(sink)) as connected:
        yield Bench(client, queue, connected, book, sink)
