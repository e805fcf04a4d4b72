"""The recipe for an API with a rate limit in docs/jobs/retries.md: it fetches no page twice."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from durable_jobs import Retry
from durable_jobs.testing import Simulation

DOCS = Path(__file__).parents[2] / "docs" / "jobs" / "retries.md"
PAGES = 5


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """The names that the code in the docs defines."""
    [code] = re.findall(r"```python\n(# polling\.py.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "polling"}
    exec(compile(code, str(DOCS), "exec"), names)
    return names


class Api:
    """Pages of one issue each; takes two requests, then asks its caller to wait."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.refused = 0
        self.down_at: int | None = None
        """The page that it fails to give."""

        self._left = 2

    def answer(self, request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        if not self._left:
            self._left, self.refused = 2, self.refused + 1
            return httpx.Response(429, headers={"Retry-After": "40"})
        self._left -= 1
        self.asked.append(page)
        if page == self.down_at:
            return httpx.Response(500)
        return httpx.Response(200, json=[page] if page <= PAGES else [])

    def client(self) -> httpx.AsyncClient:
        transport = httpx.MockTransport(self.answer)
        return httpx.AsyncClient(transport=transport, base_url="https://api.example")


JobOf = Callable[[Api, list[object]], Any]


@pytest.fixture
def job_of(recipe: dict[str, Any]) -> JobOf:
    """The recipe's job on an API, with a place for what it stores."""
    return lambda api, stored: recipe["SyncIssues"](api.client(), stored)


def test_pages_are_fetched_once_over_many_refusals_and_no_attempt_fails(job_of: JobOf) -> None:
    api, stored = Api(), list[object]()
    job = job_of(api, stored)
    sim = Simulation(job)
    sync = sim.continuous(type(job), "k")
    sync.start()
    sim.advance("2m")
    assert stored == [1, 2, 3, 4, 5]
    assert api.asked == [1, 2, 3, 4, 5, 6]
    assert api.refused == 2
    assert [event["type"] for event in sim.events] == ["job.started", "job.executed"]
    status = sync.status()
    assert status is not None
    assert (status.run_count, status.last_error) == (1, None)
    assert sync.state().page == 1


def test_the_run_after_one_that_failed_for_good_goes_on_at_its_page(
    recipe: dict[str, Any],
) -> None:
    api, stored = Api(), list[object]()
    api.down_at = 4
    few = type("Few", (recipe["SyncIssues"],), {"retry": Retry(2, jitter=False)})
    sim = Simulation(few(api.client(), stored))
    sync = sim.continuous(few, "k")
    sync.start()
    sim.advance("2m")
    status = sync.status()
    assert status is not None
    assert "500" in str(status.last_error)
    api.down_at = None
    sync.trigger()
    sim.advance("2m")
    assert stored == [1, 2, 3, 4, 5]
    assert api.asked == [1, 2, 3, 4, 4, 4, 5, 6]
