"""A foreign page reaches nothing, under whatever name it has itself resolved."""

from pathlib import Path

import pytest

from durable_jobs.tracking.collector import CollectorSettings, collecting
from durable_jobs.tracking.collector.hosts import Hosts

from .support import Sender, event, running

PATHS = ("/", "/app.js", "/api/summary", "/api/stream", "/healthz", "/nothing")


@pytest.mark.parametrize("path", PATHS)
async def test_under_a_foreign_name_nothing_is_answered(collector: Sender, path: str) -> None:
    answer = await collector.http.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "--name" in answer.json()["error"]


async def test_under_a_foreign_name_nothing_is_taken_and_a_worker_keeps_it(
    collector: Sender,
) -> None:
    answer = await collector.post(event(1), headers={"Host": "evil.example:4000"})
    assert answer.status_code == 403
    assert await collector.ids() == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "x", ""])
@pytest.mark.parametrize("path", ["/events", "/api/stream"])
async def test_a_foreign_page_may_neither_send_nor_read(
    collector: Sender, origin: str, path: str
) -> None:
    method = "POST" if path == "/events" else "GET"
    answer = await collector.http.request(
        method, path, headers={"Origin": origin}, json={"events": [event(1)]}
    )
    assert answer.status_code == 403
    assert await collector.ids() == []


async def test_its_own_page_may_send(collector: Sender) -> None:
    own = {"Origin": collector.address.rstrip("/")}
    assert (await collector.post(event(1), headers=own)).status_code == 200


async def test_a_name_that_was_given_is_answered_as_is_its_page_behind_a_proxy(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "events.db", names=("Jobs.Example.com",)) as collector:
        for host in ("jobs.example.com", "JOBS.example.com:80", "jobs.example.com."):
            assert (await collector.http.get("/", headers={"Host": host})).status_code == 200
        page = {"Origin": "https://jobs.example.com"}
        assert (await collector.post(event(1), headers=page)).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:4000", "localhost.", "127.0.0.1:4000", "[::1]:4000", "192.168.3.4"],
)
def test_addresses_and_localhost_are_always_right(host: str) -> None:
    assert Hosts(()).problem({"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost",
        "evil.example:80@127.0.0.1",
        "127.0.0.1@evil.example",
        "localhost:80:80",
        "[::1",
        "",
        " ",
    ],
)
def test_other_names_are_wrong(host: str) -> None:
    assert Hosts(()).problem({"host": host}) is not None


@pytest.mark.parametrize("name", ["http://x", "x:80", "", "a b", "x/y", "*"])
def test_a_name_that_is_none_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a host's alone"):
        CollectorSettings(tmp_path / "events.db", names=(name,))


async def test_the_name_that_it_listens_under_is_its_own(tmp_path: Path) -> None:
    settings = CollectorSettings(tmp_path / "events.db")
    async with collecting(settings, host="localhost") as address:
        assert address.startswith("http://localhost:")


@pytest.mark.parametrize("path", PATHS)
async def test_no_answer_is_taken_for_something_else_than_it_says(
    collector: Sender, path: str
) -> None:
    async with collector.http.stream("GET", path) as answer:
        assert answer.headers["x-content-type-options"] == "nosniff"
