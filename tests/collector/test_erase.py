"""What is erased is gone from the file, not called missing, does not come back, and is proven."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from durable_jobs.tracking.collector import CollectorSettings
from tests.support import eventually

from .support import Sender, event, failed, running, until_left

TOKEN = {"Authorization": "Bearer let-me-erase"}
ALICE, BOB = "task:triage:alice", "task:triage:bob"
BOBS = {"instanceId": BOB, "id": "bob", "executionId": "b"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
async def collector(path: Path) -> AsyncIterator[Sender]:
    async with running(path, erase_token="let-me-erase") as sender:
        yield sender


def of_alice(sequence: int, **more: Any) -> dict[str, Any]:
    return failed(sequence, "alice@example.com", **{"instanceId": ALICE, "id": "alice", **more})


async def erase(collector: Sender, *instances: object) -> list[dict[str, Any]]:
    """Erase instances and give the proofs."""
    answer = await post(collector, {"instanceIds": instances})
    assert answer.status_code == 200, answer.text
    return answer.json()["erasures"]


async def post(
    collector: Sender, body: object, headers: dict[str, str] | None = None
) -> httpx.Response:
    given = TOKEN if headers is None else headers
    return await collector.http.post("/api/erase", json=body, headers=given)


def bytes_of(path: Path) -> bytes:
    """All that stands on disk, in what SQLite has not yet copied into the file too."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


async def test_no_byte_of_an_erased_instance_is_left_on_disk(collector: Sender, path: Path) -> None:
    for start in range(1, 2_000, 100):
        theirs = [of_alice(start + n) for n in range(100)]
        await collector.send(*theirs, *(event(start + n, **BOBS) for n in range(100)))
    await collector.send(of_alice(1, executionId="y"))
    assert b"alice" in bytes_of(path)
    [proof] = await erase(collector, ALICE)
    assert proof["events"] == 2_001
    assert b"alice" not in bytes_of(path)
    assert len(await collector.ids(instance=BOB, limit=500)) == 500
    assert (await collector.get("/api/summary"))["events"] == 2_000


async def test_nothing_is_missing_afterwards_and_late_copies_are_not_kept(
    collector: Sender,
) -> None:
    alone = of_alice(9, eventId="without a sequence")
    del alone["executionId"], alone["sequence"]
    await collector.send(of_alice(1), of_alice(2), of_alice(5), alone)
    await erase(collector, ALICE)
    assert (await collector.get("/api/gaps"))["total"] == 0
    # The third never came; it is erased as well.
    copies = [of_alice(n) for n in (1, 2, 3, 5)]
    again = await collector.send(*copies, alone)
    assert (again["accepted"], again["duplicates"]) == (0, 5)
    assert await collector.ids() == []
    assert (await collector.get("/api/instances"))["instances"] == []


async def test_an_instance_that_goes_on_is_kept_from_then_on(collector: Sender) -> None:
    await collector.send(of_alice(1), of_alice(2))
    await erase(collector, ALICE)
    await collector.send(of_alice(3), of_alice(5))
    assert await collector.ids(instance=ALICE) == ["x-5", "x-3"]
    [gap] = (await collector.get("/api/gaps", instance=ALICE))["gaps"]
    assert gap["ranges"] == [[4, 4]]
    [instance] = (await collector.get("/api/instances"))["instances"]
    assert instance["events"] == 2


async def test_the_proof_says_what_was_erased_when_and_how_much_and_no_name(
    collector: Sender,
) -> None:
    await collector.send(of_alice(1), of_alice(2), event(1, **BOBS))
    proofs = await erase(collector, ALICE, BOB, ALICE)
    assert [proof["events"] for proof in proofs] == [2, 1]
    assert proofs[0]["instanceSha256"] == hashlib.sha256(ALICE.encode()).hexdigest()
    shown = await collector.get("/api/erasures")
    assert shown == {"erasures": proofs[::-1], "cursor": None}
    assert (await collector.get("/api/erasures", instance=ALICE))["erasures"] == proofs[:1]
    first = await collector.get("/api/erasures", limit=1)
    rest = await collector.get("/api/erasures", limit=1, cursor=first["cursor"])
    assert first["erasures"] + rest["erasures"] == proofs[::-1]


async def test_one_that_was_cut_off_goes_on_when_it_is_asked_for_again(path: Path) -> None:
    async with running(path, erase_token="let-me-erase") as collector:
        await collector.send(of_alice(1), of_alice(2))
        await erase(collector, ALICE)
    with sqlite3.connect(path) as file:
        # As if it had ended before the file was written anew.
        file.execute("UPDATE erasures SET done = NULL")
    async with running(path, erase_token="let-me-erase") as collector:
        assert (await collector.get("/api/erasures"))["erasures"] == []
        [proof] = await erase(collector, ALICE)
        assert proof["events"] == 2
        assert (await collector.get("/api/erasures"))["erasures"] == [proof]


async def test_intake_goes_on_while_instances_are_erased(collector: Sender) -> None:
    await collector.send(*(of_alice(n) for n in range(1, 2_500)))
    erasing = asyncio.create_task(erase(collector, ALICE))
    for n in range(1, 20):
        await collector.send(event(n, **BOBS))
    [proof] = await erasing
    assert proof["events"] == 2_499
    assert len(await collector.ids(instance=BOB)) == 19
    assert (await collector.get("/api/gaps"))["total"] == 0


async def test_only_its_own_token_opens_it(path: Path) -> None:
    async with running(path, token="send", erase_token="let-me-erase") as collector:
        for given in ({}, {"Authorization": "Bearer send"}, {"Authorization": "let-me-erase"}):
            answer = await post(collector, {"instanceIds": [ALICE]}, headers=given)
            assert answer.status_code == 401
            assert "for erasing" in answer.json()["error"]
        assert (await collector.post(event(1), headers=TOKEN)).status_code == 401
    async with running(path) as collector:
        answer = await post(collector, {"instanceIds": [ALICE]})
        assert answer.status_code == 403
        assert "--erase-token" in answer.json()["error"]


@pytest.mark.parametrize(
    "body", [{}, [], {"instanceIds": []}, {"instanceIds": [1]}, {"instanceIds": "a"},
             {"instanceIds": [""]}, {"instanceIds": ["a"], "more": 1}, {"instanceIds": [["a"]]}]
)  # fmt: skip
async def test_a_body_that_names_no_instances_is_refused(collector: Sender, body: object) -> None:
    assert (await post(collector, body)).status_code == 400
    assert (await collector.get("/api/erasures"))["erasures"] == []


def test_the_token_is_none_that_senders_have(path: Path) -> None:
    with pytest.raises(ValueError, match="another one than the token of senders"):
        CollectorSettings(path, token="same", erase_token="same")
    with pytest.raises(ValueError, match="erase token is empty"):
        CollectorSettings(path, erase_token=" ")


async def test_retention_forgets_what_was_erased(path: Path) -> None:
    old = {"timestamp": "2020-01-02T00:00:00.000Z"}
    end = {"type": "job.terminated", "error": None, **old}
    async with running(path, erase_token="let-me-erase") as collector:
        await collector.send(of_alice(1, **old), event(2, **{"instanceId": ALICE, **end}))
        await erase(collector, ALICE)
    async with running(path, retention=timedelta(days=1)) as collector:
        await until_left(collector, 0)

        def forgotten() -> bool:
            with sqlite3.connect(path) as file:
                return file.execute("SELECT count(*) FROM executions").fetchone() == (0,)

        await eventually(forgotten)
        assert len((await collector.get("/api/erasures"))["erasures"]) == 1
