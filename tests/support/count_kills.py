"""Counts debounced events while workers are killed: accepted = flushed, and none in two windows.

    python -m tests.support.count_kills [--events 100000] [--keys 100] [--every 3] [--workers 3]

Prints the count as JSON; ends with 1 where it does not add up.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client

from durable_jobs import JobClient
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles import DebounceHandle
from tests.support import Python, eventually
from tests.support.counted_jobs import Plain
from tests.support.jobs import new_key
from tests.support.ledger import Ledger, ledger_of
from tests.support.scripted import Push, Total

ROOT = Path(__file__).parents[2]
_PATIENCE = 240
"""Seconds until all must have ended once the last event was added."""


@dataclass(frozen=True)
class Count:
    """What came of it."""

    accepted: int
    flushed: int
    rejected: int
    in_two_windows: int
    windows: int
    kills: int
    longest_history: int
    seconds: float

    @property
    def adds_up(self) -> bool:
        """Whether every event was flushed exactly once."""
        return (self.flushed, self.rejected, self.in_two_windows) == (self.accepted, 0, 0)


class Killer:
    """Worker processes of which one is killed, and another one started, time and again."""

    def __init__(self, stack: ExitStack, where: tuple[str, str], count: int) -> None:
        self._stack, self._where = stack, where
        self.kills = 0
        self._workers = [self._start() for _ in range(count)]

    def _start(self) -> Python:
        worker = Python("-m", "tests.support.counted_jobs", *self._where, cwd=ROOT)
        return self._stack.enter_context(worker)

    async def kill(self, every: float) -> None:
        """Until cancelled."""
        dice = random.Random(5)
        while True:
            await asyncio.sleep(every)
            place = dice.randrange(len(self._workers))
            self._workers[place].signal(signal.SIGKILL)
            self.kills += 1
            self._workers[place] = self._start()


async def count(
    server: EmbeddedServer, *, events: int, keys: int, every: float, workers: int, rate: float
) -> Count:
    """Add events, `rate` a second, and kill workers until all ended; read what became of them."""
    client = await Client.connect(server.target)
    queue, begun = new_key(), time.monotonic()
    jobs = JobClient(client, task_queue=queue)
    handles = [jobs.debounce(Plain, new_key()) for _ in range(keys)]
    with ExitStack() as stack:
        killer = Killer(stack, (server.target, queue), workers)
        killing = asyncio.create_task(killer.kill(every))
        accepted = await _add(handles, events, rate)
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(*(_ended(client, handle) for handle in handles))
        killing.cancel()
    ledger = await eventually(lambda: _whole(client, handles, accepted), within=30, every=1)
    return Count(
        accepted=accepted,
        flushed=ledger.flushed.total(),
        rejected=ledger.rejected.total(),
        in_two_windows=len(ledger.twice),
        windows=ledger.windows,
        kills=killer.kills,
        longest_history=ledger.longest,
        seconds=round(time.monotonic() - begun, 1),
    )


async def _add(handles: list[DebounceHandle[Push, Total]], events: int, rate: float) -> int:
    """A hundredth of a second's events at a time; each caller waits for its own."""
    begun, adding = time.monotonic(), set[asyncio.Task[None]]()
    for n in range(events):
        adding.add(asyncio.create_task(handles[n % len(handles)].add(Push(n=n))))
        ahead = n / rate - (time.monotonic() - begun)
        if ahead > 0.01:
            await asyncio.sleep(ahead)
    await asyncio.gather(*adding)
    return len(adding)


async def _ended(client: Client, handle: DebounceHandle[Push, Total]) -> None:
    await client.get_workflow_handle(handle.instance_id).result()


async def _whole(client: Client, handles: list[Any], accepted: int) -> Ledger | None:
    """The server lists a run a little later than it ends."""
    ledger = await ledger_of(client, [handle.instance_id for handle in handles])
    return ledger if ledger.flushed.total() + ledger.rejected.total() >= accepted else None


async def main(options: argparse.Namespace) -> int:
    async with EmbeddedServer(ui=False) as server:
        counted = await count(server, **vars(options))
    print(json.dumps(asdict(counted), indent=2))  # noqa: T201
    return 0 if counted.adds_up else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2_500.0, help="events a second")
    sys.exit(asyncio.run(main(parser.parse_args())))
