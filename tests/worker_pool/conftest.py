"""A worker with one pool, for one test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs.handles import WorkerPoolHandle
from tests.support.jobs import running_worker
from tests.worker_pool.jobs import Deliver, Hook

Handle = WorkerPoolHandle[Hook]
Running = Callable[..., AbstractAsyncContextManager[Handle]]


@pytest.fixture
def running(client: Client, queue: str) -> Running:
    """Runs a worker with a pool, and ends the pool's instances at the end."""

    @asynccontextmanager
    async def run(job: Deliver, **options: Any) -> AsyncIterator[Handle]:
        async with running_worker(client, queue, job, **options) as jobs:
            pool = jobs.worker_pool(type(job))
            yield pool
            await pool.terminate()

    return run
