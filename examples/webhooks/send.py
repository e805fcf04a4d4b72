"""Queues a few webhooks: `python -m examples.webhooks.send URL [COUNT]`."""

import asyncio
import sys

from durable_jobs import JobClient

from .jobs import Deliver, Webhook


async def send(client: JobClient, url: str, count: int) -> None:
    """Queue so many webhooks for one receiver, which gets them in order."""
    hooks = [Webhook(url=url, body={"number": number}) for number in range(1, count + 1)]
    await client.worker_pool(Deliver).enqueue_many(hooks, partition_key=url)


async def main(url: str, count: int = 3) -> None:
    """Connect and send."""
    await send(await JobClient.connect(), url, count)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
