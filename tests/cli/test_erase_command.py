"""`erase --collector`: what the collector keeps goes too."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_jobs.embedded import EmbeddedServer
from tests.collector.support import Sender, failed, running
from tests.support.operating import Operator

VARIABLE = "DURABLE_JOBS_COLLECTOR_ERASE_TOKEN"
ALICE = "task:triage:alice-of-the-collector"


def with_token(server: EmbeddedServer, token: str) -> Operator:
    return Operator(server.target, **{VARIABLE: token})


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Sender]:
    async with running(tmp_path / "events.db", erase_token="let-me-erase") as sender:
        await sender.send(failed(1, "no", instanceId=ALICE, id="alice-of-the-collector"))
        yield sender


async def kept(collector: Sender) -> int:
    answer = await collector.http.get("/api/events", params={"instance": ALICE})
    return len(answer.json()["events"])


async def test_what_temporal_has_no_more_of_is_erased_at_the_collector(
    collector: Sender, server: EmbeddedServer
) -> None:
    operate = with_token(server, "let-me-erase")
    assert await kept(collector) == 1
    where = ("--collector", str(collector.http.base_url))
    said = await operate("erase", ALICE, "--yes", *where, code=3)
    assert f"Temporal has nothing of {ALICE}" in said
    assert "the collector erased 1 event" in said
    assert await kept(collector) == 0


async def test_a_collector_that_refuses_is_told_of_in_its_words(
    collector: Sender, server: EmbeddedServer
) -> None:
    operate = with_token(server, "guessed")
    where = ("--collector", str(collector.http.base_url))
    said = await operate("erase", ALICE, "--yes", *where, code=1)
    assert "erased nothing: 401" in said
    assert "it does the rest" in said
    assert await kept(collector) == 1


@pytest.mark.parametrize(
    ("collector", "words"),
    [
        ("http://127.0.0.1:1", f"put the collector's --erase-token into {VARIABLE}"),
        ("here", "--collector is an address"),
    ],
)
async def test_what_the_collector_would_refuse_is_refused_before_anything_is_erased(
    server: EmbeddedServer, collector: str, words: str
) -> None:
    operate = with_token(server, "")
    said = await operate("erase", ALICE, "--yes", "--collector", collector, code=2)
    assert words in said
    assert "Temporal has nothing" not in said
