"""The recipe for an API with a rate limit in docs/jobs.md: it fetches no page twice."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import at_most, last_error_of, new_key, running_worker, until_run

DOCS = Path(__file__).parents[2] / "docs" / "jobs.md"
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
            return httpx.Response(429, headers={"Retry-After": "0.05"})
        self._left -= 1
        self.asked.append(page)
        if page == self.down_at:
            return httpx.Response(500)
        return httpx.Response(200, json=[page] if page <= PAGES else [])

    def client(self) -> httpx.AsyncClient:
        transport = httpx.MockTransport(self.answer)
        return httpx.AsyncClient(transport=transport, base_url="https://api.example")


def kinds_up_to(sink: MemorySink, last: str) -> list[object]:
    """The types of the events that came, once the last one is there."""
    kinds = [event["type"] for event in sink.events]
    return kinds if last in kinds else []


JobOf = Callable[[Api, list[object]], Any]


@pytest.fixture
def job_of(recipe: dict[str, Any]) -> JobOf:
    """The recipe's job on an API, with a place for what it stores."""
    return lambda api, stored: recipe["SyncIssues"](api.client(), stored)


async def test_pages_are_fetched_once_over_many_refusals_and_no_attempt_fails(
    client: Client, queue: str, job_of: JobOf
) -> None:
    api, stored, sink = Api(), list[object](), MemorySink()
    job = job_of(api, stored)
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        sync = jobs.continuous(type(job), new_key())
        await sync.start()
        status = await until_run(sync, 1)
        state = await sync.state()
        kinds = await eventually(lambda: kinds_up_to(sink, "job.executed"))
    assert stored == [1, 2, 3, 4, 5]
    assert api.asked == [1, 2, 3, 4, 5, 6]
    assert api.refused == 2
    assert kinds == ["job.started", "job.executed"]
    assert (status.run_count, status.last_error) == (1, None)
    assert state is not None
    assert state.page == 1


async def test_the_run_after_one_that_failed_for_good_goes_on_at_its_page(
    client: Client, queue: str, recipe: dict[str, Any]
) -> None:
    api, stored = Api(), list[object]()
    api.down_at = 4
    few = type("Few", (recipe["SyncIssues"],), {"retry": at_most(2)})
    async with running_worker(client, queue, few(api.client(), stored)) as jobs:
        sync = jobs.continuous(few, new_key())
        await sync.start()
        await until_run(sync, 1)
        assert "500" in await last_error_of(sync)
        api.down_at = None
        await sync.trigger()
        await until_run(sync, 2)
    assert stored == [1, 2, 3, 4, 5]
    assert api.asked == [1, 2, 3, 4, 4, 4, 5, 6]
