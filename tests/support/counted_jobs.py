"""Debounce jobs whose events are counted to the last one, and a worker process that may be killed.

    python -m tests.support.counted_jobs TARGET QUEUE [COLLECTOR_URL]

Each event is a number that is used once. What became of it stands in Temporal's histories, see
`tests.support.ledger`: a run's result holds the numbers that it had.
"""

import asyncio
import sys
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import DebounceJob, DebounceRun, JobsPlugin, collect
from durable_jobs.tracking import HttpSink, Tracking
from tests.support.jobs import QUICK, at_most
from tests.support.scripted import Push, Total


def ms(milliseconds: float) -> timedelta:
    return timedelta(milliseconds=milliseconds)


class Plain(DebounceJob[Push, Total]):
    """Rejects what has the note "raise"; every third run fails once where it may be tried again."""

    name = "plain"
    flush_after = ms(200)
    max_events = 40
    retry = QUICK
    heartbeat_timeout = timedelta(seconds=1)

    def reduce(self, state: Total | None, event: Push) -> Total:
        if event.note == "raise":
            raise ValueError("no such push")
        state = state or Total()
        state.ns.append(event.n)
        return state

    async def execute(self, run: DebounceRun[Total]) -> None:
        await asyncio.sleep(0.01)
        if run.run_count % 3 == 2 and run.attempt < self.attempts:
            raise OSError("full")

    attempts = 2


class Eager(Plain):
    name = "eager"
    leading = True
    quiet_for = ms(80)


class Knowing(Plain):
    name = "knowing"
    dedupe_for = ms(1_500)


class Held(Plain):
    name = "held"
    flush_after = timedelta(hours=1)
    max_events = None


class Pausing(Plain):
    """Every third run fails for good."""

    name = "pausing"
    retry = at_most(2)
    attempts = 9


class GoingOn(Pausing):
    name = "going-on"
    on_exhausted = "continue"


class Ending(Pausing):
    name = "ending"
    on_exhausted = "terminate"


class Listing(DebounceJob[Push, list[Push]]):
    name = "listing"
    quiet_for = ms(100)
    max_bytes = 400
    retry = QUICK
    heartbeat_timeout = timedelta(seconds=1)
    reduce = collect

    async def execute(self, run: DebounceRun[list[Push]]) -> None:
        await asyncio.sleep(0.01)


JOBS: tuple[type[DebounceJob[Push, Any]], ...] = (
    *(Plain, Eager, Knowing, Held, Pausing, GoingOn, Ending, Listing),
)


async def main(target: str, queue: str, url: str = "") -> None:
    """Work until killed."""
    client = await Client.connect(target)
    plugin = JobsPlugin([job() for job in JOBS], Tracking(HttpSink(url)) if url else None)
    # By default the server waits 10 s for a killed worker to go on with what it had cached.
    sticky = timedelta(milliseconds=500)
    async with Worker(
        client,
        task_queue=queue,
        plugins=[plugin],
        sticky_queue_schedule_to_start_timeout=sticky,
    ):
        print("ready", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
