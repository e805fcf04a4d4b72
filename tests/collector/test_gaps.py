"""Completeness: which events are missing, and which places were taken twice."""

from typing import Any

from .support import Sender, event

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
