"""The webhooks example in a simulation, with a receiver of this test."""

import json

import httpx

from durable_jobs.testing import Simulation
from examples.webhooks.jobs import Deliver, jobs
from examples.webhooks.send import send

URL = "http://receiver.invalid/hook"


class Receiver:
    """Gives the answers in its script first, then takes what comes."""

    def __init__(self, *script: httpx.Response) -> None:
        self._script = list(script)
        self.numbers: list[int] = []
        self.ids: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.numbers.append(json.loads(request.content)["number"])
        self.ids.append(request.headers["webhook-id"])
        return self._script.pop(0) if self._script else httpx.Response(204)

    def simulation(self) -> Simulation:
        """The example's job, which sends to it."""
        return Simulation(Deliver(httpx.AsyncClient(transport=httpx.MockTransport(self))))


def test_a_receiver_gets_its_webhooks_in_order_with_one_id_for_all_attempts() -> None:
    later = httpx.Response(429, headers={"retry-after": "40"})
    receiver = Receiver(httpx.Response(503), later)
    sim = receiver.simulation()
    sim.run(send(sim.jobs, URL, 3))
    sim.advance("2s")
    assert receiver.numbers == [1, 1]
    sim.advance("40s")
    assert receiver.numbers == [1, 1, 1, 2, 3]
    assert len(set(receiver.ids[:3])) == 1
    assert len(set(receiver.ids)) == 3


def test_what_a_receiver_refuses_is_set_aside_until_it_is_brought_back() -> None:
    receiver = Receiver(httpx.Response(404))
    sim = receiver.simulation()
    sim.run(send(sim.jobs, URL, 2))
    pool = sim.worker_pool(Deliver)
    [failed] = pool.status().failed_events
    assert failed["error"].endswith("refuses it: 404")
    assert pool.redrive() == 1
    assert receiver.numbers == [1, 2, 1]


async def test_a_worker_of_the_example_delivers_webhooks() -> None:
    async with jobs() as made:
        assert [job.name for job in made] == ["deliver"]
        for job in made:
            job.check()
