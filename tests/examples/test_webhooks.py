"""The webhooks example, with a receiver of this test."""

import json
import uuid
from datetime import timedelta
from typing import ClassVar

import httpx
from temporalio.client import Client

from durable_jobs import JobClient, Retry
from durable_jobs.handles import WorkerPoolHandle
from examples.webhooks.jobs import Deliver, Webhook, jobs
from examples.webhooks.send import send
from tests.support import eventually
from tests.support.jobs import running_worker

QUEUE = "webhooks"
"""One for all tests: what an instance of an earlier one did is asked of this queue's workers."""


class Receiver:
    """Gives the answers in its script first, then takes what comes."""

    def __init__(self, *script: httpx.Response) -> None:
        self._script = list(script)
        self.numbers: list[int] = []
        self.ids: list[str] = []
        self.url = f"http://receiver-{uuid.uuid4().hex[:8]}.invalid/hook"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.numbers.append(json.loads(request.content)["number"])
        self.ids.append(request.headers["webhook-id"])
        return self._script.pop(0) if self._script else httpx.Response(204)

    def job(self) -> Deliver:
        return DeliverQuickly(httpx.AsyncClient(transport=httpx.MockTransport(self)))


class DeliverQuickly(Deliver):
    retry: ClassVar[Retry] = Retry(4, initial=timedelta(milliseconds=20), jitter=False)


async def test_a_receiver_gets_its_webhooks_in_order_with_one_id_for_all_attempts(
    client: Client,
) -> None:
    later = httpx.Response(429, headers={"retry-after": "0"})
    receiver = Receiver(httpx.Response(503), later)
    async with running_worker(client, QUEUE, receiver.job()) as caller:
        pool = await _sent(caller, receiver, 3)
        await eventually(lambda: _handled(pool, 3))
        await pool.terminate()
    assert receiver.numbers == [1, 1, 1, 2, 3]
    assert len(set(receiver.ids[:3])) == 1
    assert len(set(receiver.ids)) == 3


async def test_what_a_receiver_refuses_is_set_aside_until_it_is_brought_back(
    client: Client,
) -> None:
    receiver = Receiver(httpx.Response(404))
    async with running_worker(client, QUEUE, receiver.job()) as caller:
        pool = await _sent(caller, receiver, 2)
        await eventually(lambda: _handled(pool, 1))
        [failed] = (await pool.status()).failed_events
        assert failed["error"].endswith("refuses it: 404")
        assert await pool.redrive() == 1
        await eventually(lambda: _handled(pool, 2))
        await pool.terminate()
    assert receiver.numbers == [1, 2, 1]


async def test_a_worker_of_the_example_delivers_webhooks() -> None:
    async with jobs() as made:
        assert [job.name for job in made] == ["deliver"]
        for job in made:
            job.check()


async def _sent(caller: JobClient, receiver: Receiver, count: int) -> WorkerPoolHandle[Webhook]:
    await send(caller, receiver.url, count)
    return caller.worker_pool(Deliver)


async def _handled(pool: WorkerPoolHandle[Webhook], count: int) -> bool:
    """Whether one instance is alive, has nothing to do, and has delivered so many."""
    idle = [each for each in (await pool.status()).instances if each.status == "idle"]
    return [(each.handled_events, each.event_count) for each in idle] == [(count, 0)]
