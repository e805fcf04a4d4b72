"""A worker for one test, and what tests ask the server about an instance."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import JobClient, JobsPlugin, JobStatus, Retry
from durable_jobs.definitions import Job
from durable_jobs.handles.base import Handle
from durable_jobs.tracking import Tracking
from tests.support import eventually

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


async def run_id_of(client: Client, instance_id: str) -> str | None:
    """The Temporal run that an instance is in."""
    return (await client.get_workflow_handle(instance_id).describe()).run_id


async def went_on(client: Client, instance_id: str, since: str | None = None) -> bool:
    """Whether an instance has continued as new since that run, or since its first one."""
    description = await client.get_workflow_handle(instance_id).describe()
    first = description.raw_description.workflow_execution_info.first_run_id
    return description.run_id != (since or first)


async def history_of(client: Client, instance_id: str) -> list[str]:
    """The types of the history events of an instance's last run, such as `timer_started`."""
    history = await client.get_workflow_handle(instance_id).fetch_history()
    names = (event.WhichOneof("attributes") or "" for event in history.events)
    return [name.removesuffix("_event_attributes") for name in names]


async def status_of(handle: Handle[Any]) -> JobStatus:
    """The status of an instance that there is, or was."""
    status = await handle.status()
    assert status is not None
    return status


async def until_status(handle: Handle[Any], word: str) -> JobStatus:
    """Wait until an instance's status is this word."""

    async def reached() -> JobStatus | None:
        status = await handle.status()
        return status if status is not None and status.status == word else None

    return await eventually(reached)


async def until_run(handle: Handle[Any], count: int) -> JobStatus:
    """Wait until an instance has finished so many runs."""

    async def reached() -> JobStatus | None:
        status = await status_of(handle)
        over = status.run_count > count or status.status not in {"running", "retrying"}
        return status if status.run_count >= count and over else None

    return await eventually(reached)


async def until_settled(handle: Handle[Any]) -> JobStatus:
    """Wait until a task has handled its events and runs nothing."""

    async def reached() -> JobStatus | None:
        status = await handle.status()
        still = status is not None and status.status in {"idle", "scheduled", "paused"}
        return status if status is not None and still and not status.event_count else None

    return await eventually(reached)


async def let_pass(time: timedelta) -> None:
    """Let less than half a second pass, where nothing is to happen."""
    moment = datetime.now(UTC) + time
    await eventually(lambda: datetime.now(UTC) > moment, every=0.01)


async def last_error_of(handle: Handle[Any]) -> str:
    """The last error of an instance, once it has one."""

    async def told() -> str | None:
        return (await status_of(handle)).last_error

    return await eventually(told)
