"""A worker for one test, and what tests ask the server about an instance."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import JobClient, JobsPlugin, Retry
from durable_jobs.definitions import Job
from durable_jobs.tracking import Tracking

QUICK = Retry(initial=timedelta(milliseconds=20), backoff="fixed", jitter=False)
"""Tries again at once, without limit."""


def at_most(attempts: int) -> Retry:
    """Tries again at once, so often."""
    return Retry(attempts, initial=timedelta(milliseconds=20), backoff="fixed", jitter=False)


def new_key() -> str:
    """A key that no other test uses."""
    return f"k{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def running_worker(
    client: Client, queue: str, *jobs: Job, tracking: Tracking | None = None, **options: Any
) -> AsyncIterator[JobClient]:
    """A worker with these jobs in this process, and a client for them. It takes 5 ms."""
    async with Worker(client, task_queue=queue, plugins=[JobsPlugin(jobs, tracking)], **options):
        yield JobClient(client, task_queue=queue)


async def result_of(client: Client, instance_id: str) -> dict[str, Any]:
    """What an instance ended with; waits for its end, and follows continue-as-new."""
    return await client.get_workflow_handle(instance_id).result()


async def history_of(client: Client, instance_id: str) -> list[str]:
    """The types of the history events of an instance's last run, such as `timer_started`."""
    history = await client.get_workflow_handle(instance_id).fetch_history()
    names = (event.WhichOneof("attributes") or "" for event in history.events)
    return [name.removesuffix("_event_attributes") for name in names]
