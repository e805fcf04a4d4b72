"""Completeness: which events are missing, and which places were taken twice."""

from pathlib import Path
from typing import Any

import pytest

from .support import Sender, event, running

WHOLE = {"total": 0, "gaps": [], "cursor": None}


async def test_a_gap_is_named_until_the_missing_events_come(collector: Sender) -> None:
    await collector.send(*(event(n) for n in (3, 4, 7, 10)), event(1, executionId="whole"))
    found = await collector.get("/api/gaps")
    assert found["total"] == 1
    [gap] = found["gaps"]
    assert (gap["executionId"], gap["instanceId"]) == ("x", "task:triage:a")
    assert (gap["missing"], gap["highest"]) == (6, 10)
    assert gap["ranges"] == [[1, 2], [5, 6], [8, 9]]
    await collector.send(*(event(n) for n in (9, 8, 1, 2, 6, 5)))
    assert await collector.get("/api/gaps") == WHOLE


async def test_two_events_in_one_place_do_not_fill_a_gap(collector: Sender) -> None:
    await collector.send(event(1), event(3))
    await collector.send(event(3, eventId="another"), event(1, eventId="one more"))
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert gap["ranges"] == [[2, 2]]


async def test_a_gap_of_any_size_is_one_range(collector: Sender) -> None:
    await collector.send(event(1), {**event(2), "sequence": 2**50})
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert gap["ranges"] == [[2, 2**50 - 1]]


async def test_of_many_ranges_the_first_are_listed_and_the_others_counted(
    collector: Sender,
) -> None:
    await collector.send(*(event(2 * n) for n in range(1, 51)))
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert (gap["missing"], len(gap["ranges"]), gap["more"]) == (50, 50, 0)
    await collector.send(*(event(2 * n) for n in range(51, 300)))
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert (gap["missing"], len(gap["ranges"]), gap["more"]) == (299, 50, 249)
    assert gap["ranges"][0] == [1, 1]


async def test_a_place_taken_twice_is_told_even_where_nothing_is_missing(
    collector: Sender,
) -> None:
    await collector.send(event(1), event(2), event(1, executionId="whole"))
    await collector.send(event(2, eventId="another"), event(2, eventId="a third"))
    found = await collector.get("/api/gaps")
    [gap] = found["gaps"]
    assert (found["total"], gap["executionId"]) == (1, "x")
    assert (gap["clashes"], gap["missing"], gap["ranges"], gap["more"]) == (2, 0, [], 0)
    summary = await collector.get("/api/summary")
    assert (summary["gaps"], summary["clashes"]) == (0, 1)


async def test_a_cursor_gives_every_gap_once(collector: Sender) -> None:
    # Several at the same time, which the cursor must tell apart.
    await collector.send(*(event(2 + n // 10, executionId=f"e{n}") for n in range(25)))
    seen: list[str] = []
    more: dict[str, Any] = {}
    for size in (10, 10, 5):
        found = await collector.get("/api/gaps", limit=10, **more)
        assert (found["total"], len(found["gaps"])) == (25, size)
        seen += [gap["executionId"] for gap in found["gaps"]]
        more = {"cursor": found["cursor"]}
    assert more == {"cursor": None}
    assert set(seen) == {f"e{n}" for n in range(25)}


async def acknowledged(collector: Sender, **body: str) -> dict[str, int]:
    """Acknowledge what is missing, and say how much that was."""
    answer = await collector.http.post("/api/acknowledge", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_a_fresh_collector_never_saw_can_be_acknowledged(collector: Sender) -> None:
    await collector.send(event(57), event(58), event(60), event(9, executionId="y"))
    assert await acknowledged(collector, executionId="x") == {"executions": 1, "acknowledged": 57}
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert (gap["executionId"], gap["missing"]) == ("y", 8)
    # What is missing from then on is told again.
    await collector.send(event(62))
    gaps = {gap["executionId"]: gap for gap in (await collector.get("/api/gaps"))["gaps"]}
    assert (gaps["x"]["missing"], gaps["x"]["ranges"]) == (1, [[61, 61]])
    assert await acknowledged(collector) == {"executions": 2, "acknowledged": 9}
    assert (await collector.get("/api/gaps"))["total"] == 0
    assert (await collector.get("/api/summary"))["gaps"] == 0


async def test_what_was_acknowledged_and_comes_after_all_is_kept_once(collector: Sender) -> None:
    await collector.send(event(5))
    await acknowledged(collector)
    late = await collector.send(event(3), event(3))
    assert (late["accepted"], late["duplicates"]) == (1, 1)
    assert await collector.ids() == ["x-5", "x-3"]
    await collector.send(event(7))
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert (gap["missing"], gap["ranges"], gap["clashes"]) == (1, [[6, 6]], 0)


async def test_many_executions_are_acknowledged_at_once(collector: Sender) -> None:
    await collector.send(*(event(2, executionId=f"x{n}") for n in range(450)))
    assert await acknowledged(collector) == {"executions": 450, "acknowledged": 450}


@pytest.mark.parametrize(
    "body", ["", "[]", '{"executionId": 5}', '{"execution": "x"}', "x" * 20_000]
)
async def test_what_cannot_be_understood_acknowledges_nothing(collector: Sender, body: str) -> None:
    await collector.send(event(2))
    answer = await collector.http.post("/api/acknowledge", content=body)
    assert answer.status_code == 400
    assert (await collector.get("/api/gaps"))["total"] == 1


async def test_who_may_not_send_may_not_acknowledge(tmp_path: Path) -> None:
    async with running(tmp_path / "events.db", token="secret") as collector:
        assert (await collector.http.post("/api/acknowledge", json={})).status_code == 401
        allowed = {"Authorization": "Bearer secret"}
        answer = await collector.http.post("/api/acknowledge", json={}, headers=allowed)
        assert answer.json() == {"executions": 0, "acknowledged": 0}
    async with running(tmp_path / "other.db") as collector:
        foreign = {"Origin": "http://evil.example"}
        answer = await collector.http.post("/api/acknowledge", json={}, headers=foreign)
        assert answer.status_code == 403
        plain = {"Content-Type": "text/plain"}
        answer = await collector.http.post("/api/acknowledge", content="{}", headers=plain)
        assert answer.status_code == 415
