"""A worker process to be killed: python -m tests.chaos.worker TARGET QUEUE NOTES COLLECTOR_URL."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import JobsPlugin
from durable_jobs.tracking import HttpSink, Tracking

from .jobs import all_jobs


async def main(target: str, queue: str, notes: str, url: str) -> None:
    """Work until killed."""
    client = None
    while client is None:
        try:
            client = await Client.connect(target)
        except RuntimeError:
            await asyncio.sleep(0.3)
    tracking = Tracking(HttpSink(url, timeout=timedelta(seconds=2)), env="chaos")
    worker = Worker(
        client,
        task_queue=queue,
        plugins=[JobsPlugin(all_jobs(Path(notes)), tracking)],
        # By default the server waits 10 s for a killed worker to go on with what it had cached.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )
    async with worker:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
