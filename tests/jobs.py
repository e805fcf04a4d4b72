"""Jobs for tests, and a worker to run them.

A job here notes each call of a handler in its `Book`, then does what the test wrote down for the
instance's key, so that one worker serves the tests of a whole file.
"""

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import JobClient, JobsPlugin, Retry
from durable_jobs.definitions import Job
from durable_jobs.tracking import Tracking

QUICKLY = Retry(initial=timedelta(milliseconds=20), backoff="fixed", jitter=False)
"""Tries again for ever, 20 ms after each failure."""


def new_key(prefix: str = "key") -> str:
    """A key that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def running_worker(
    client: Client, queue: str, *jobs: Job, tracking: Tracking | None = None, **options: Any
) -> AsyncIterator[JobClient]:
    """A worker with these jobs while the context is open; gives a client for its queue."""
    plugin = JobsPlugin(jobs, tracking)
    async with Worker(client, task_queue=queue, plugins=[plugin], **options):
        yield JobClient(client, task_queue=queue)


@dataclass(frozen=True)
class Call:
    """One attempt of a handler: what its run object said when it began."""

    handler: str
    state: Any
    run: Any
    event: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)


Script = Callable[[Any], Awaitable[Any]]


@dataclass
class Book:
    """What handlers were called with, and what they are to do, by key."""

    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    scripts: dict[str, Script] = field(default_factory=dict)

    def of(self, key: str) -> list[Call]:
        """The calls for a key, oldest first."""
        return self.calls[key]

    def script(self, key: str, script: Script) -> None:
        """What the handlers of this key do after the call was noted."""
        self.scripts[key] = script

    async def play(self, handler: str, run: Any, event: Any = None) -> Any:
        """Note a call and do what the test wrote down."""
        self.calls[run.key].append(Call(handler, deepcopy(run.state), run, event))
        script = self.scripts.get(run.key)
        return await script(run) if script else None


class Push(BaseModel):
    """An event."""

    n: int = 1
    note: str = ""


class Total(BaseModel):
    """A state that keeps the numbers of all events."""

    ns: list[int] = []
