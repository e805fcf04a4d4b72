"""The way from the receiver to the jobs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from temporalio.service import RPCError

from durable_jobs import Busy, JobClient, TemporalUnreachable

from .events import Delivery
from .jobs import RepoDigest, RepoHealth, Thread


class FeedError(Exception):
    """The jobs cannot take the delivery now; it may be sent again."""


class Feeder(Protocol):
    """Hands deliveries to whatever works on them."""

    async def feed(self, delivery: Delivery) -> list[str]:
        """Hand over a delivery and name who took it; returns once nothing can lose it.

        Raises:
            FeedError: not taken, or not all of it. Handing it over again does no harm.
        """
        ...


class JobFeeder:
    """Feeds the three jobs through Temporal. Connects when first needed."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[JobClient]] = JobClient.connect,
        *,
        within: float = 8.0,  # GitHub gives a receiver 10 s
    ) -> None:
        self._connect = connect
        self._within = within
        self._client: JobClient | None = None
        self._connecting = asyncio.Lock()

    async def feed(self, delivery: Delivery) -> list[str]:
        """Hand a delivery to the jobs it concerns, all at once."""
        try:
            async with asyncio.timeout(self._within):
                return await self._feed(await self._connected(), delivery)
        except TimeoutError as error:
            raise FeedError(f"Temporal did not answer within {self._within:g} s") from error
        except (Busy, TemporalUnreachable, RPCError) as error:
            raise FeedError(str(error)) from error

    async def _connected(self) -> JobClient:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _feed(self, client: JobClient, delivery: Delivery) -> list[str]:
        fed = [client.debounce(RepoDigest, delivery.key).add(delivery, id=delivery.id)]
        names = [f"{RepoDigest.name}:{delivery.key}"]
        if delivery.repository:
            fed.append(_watch(client, delivery.repository))
            names.append(f"{RepoHealth.name}:{delivery.repository}")
        if delivery.thread:
            fed.append(client.task(Thread, delivery.thread).send(delivery, id=delivery.id))
            names.append(f"{Thread.name}:{delivery.thread}")
        await asyncio.gather(*fed)
        return names


async def _watch(client: JobClient, repository: str) -> None:
    await client.continuous(RepoHealth, repository).start()
