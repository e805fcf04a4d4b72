"""Jobs in memory, with a clock of their own: what takes days on a server takes milliseconds."""

import asyncio
import weakref
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from durable_jobs.client import JobClient
from durable_jobs.definitions import Job
from durable_jobs.protocol import Detail
from durable_jobs.sync.background import Wait
from durable_jobs.sync.making import MakesHandles

from .attempts import QUEUE, Ran
from .clock import close_forgotten, forgotten
from .moments import MONDAY, check_moment, seconds_of
from .service import client_of
from .world import World

_T = TypeVar("_T")


class Simulation(MakesHandles):
    """Some jobs, their instances and their clock, in memory.

    Machines decide as they do in production, and the handlers run through the code of a worker's
    activities. `jobs` is a `JobClient` like any other: hand it to the code under test. Time passes
    by `advance` alone, and where a call waits: a handler that sleeps takes no real time.

    `start` is when it begins, Monday 5 January 2026 at 9:00 UTC by default. Jitter comes from
    Python's `random`.
    """

    def __init__(self, jobs: Sequence[Job] | Job, *, start: datetime = MONDAY) -> None:
        check_moment(start, "Simulation: start")
        self._world = World([jobs] if isinstance(jobs, Job) else jobs, start)
        client = self._world.clock.run(client_of(self._world, keeps=self))
        self.jobs: JobClient = JobClient(client, task_queue=QUEUE)
        # Not every test closes it, nor need it. Garbage may be collected while any lock is held: so
        # the next simulation closes the clock, not the finalizer.
        close_forgotten()
        weakref.finalize(self, forgotten.append, self._world.clock).atexit = False
        self.run(self._world.start_keys(self.jobs))

    @property
    def now(self) -> datetime:
        """The time."""
        return self._world.clock.now()

    @property
    def runs(self) -> list[Ran]:
        """The attempts that have ended, in the order in which they did."""
        return self._world.runs

    @property
    def events(self) -> list[Detail]:
        """The tracking events of all instances, as a collector would get them."""
        return self._world.events

    def _calls(self) -> tuple[JobClient, Wait]:
        return self.jobs, self.run

    def run(self, call: Coroutine[Any, Any, _T]) -> _T:
        """Await a call of `jobs`, and all that follows from it without that time passes."""
        return self._world.clock.run(call)

    def advance(self, span: timedelta | str) -> None:
        """Let time pass, such as `"5m"` or `"1h30m"`, and do what falls due, up to its very end."""
        self.run(asyncio.sleep(seconds_of(span, "Simulation.advance")))

    def kill_worker(self) -> None:
        """Have the worker killed: attempts under way are lost, and noticed as in production."""
        self._world.lose_attempts()

    def close(self) -> None:
        """End what is still under way."""
        self._world.clock.close()
