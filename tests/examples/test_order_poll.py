"""The example of an API with a rate limit: each page is fetched once, also by a run that waits."""

import httpx

from durable_jobs.testing import Simulation
from examples.order_poll import PollOrders, PretendedApi


class Api(PretendedApi):
    """Goes by the clock of a simulation, and fails where it is told to."""

    sim: Simulation | None = None
    broken_after: int | None = None

    def now(self) -> float:
        # The job has `keys`: its first attempt runs as the simulation begins.
        return self.sim.now.timestamp() if self.sim else 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if int(request.url.params["after"]) == self.broken_after:
            self.broken_after = None
            return httpx.Response(500)
        return super().__call__(request)


def polled(api: Api) -> Simulation:
    """A simulation in which the API was polled for the first time."""
    sim = api.sim = Simulation(PollOrders(api.client()))
    sim.advance("20s")
    return sim


def test_each_page_is_fetched_once_and_no_wait_is_a_failure() -> None:
    api = Api(orders=45)
    sim = polled(api)
    assert api.asked == [0, 10, 20, 30, 40, 45]
    assert [event["type"] for event in sim.events] == ["job.started", "job.executed"]
    assert sim.continuous(PollOrders, "acct-1").state().after == 45


def test_the_next_run_reads_only_what_is_new() -> None:
    api = Api(orders=15)
    sim = polled(api)
    api.orders = 18
    api.asked.clear()
    sim.advance("30s")
    assert api.asked == [15, 18]


def test_an_attempt_after_a_failure_goes_on_at_its_page() -> None:
    api = Api(orders=45)
    api.broken_after = 20
    sim = polled(api)
    assert [event["type"] for event in sim.events][1:] == ["job.failed", "job.executed"]
    assert api.asked == [0, 10, 20, 30, 40, 45]
