"""What the JSON API says of the events that came."""

import random
import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_jobs.tracking.collector import CollectorSettings, collecting, parse_retention
from durable_jobs.tracking.ids import iso_ms
from tests.support import eventually

from .support import START, Sender, event, failed, running


async def test_a_gap_is_named_until_the_missing_events_come(collector: Sender) -> None:
    await collector.send(*(event(n) for n in (3, 4, 7, 10)), event(1, executionId="whole"))
    found = await collector.get("/api/gaps")
    assert found["total"] == 1
    [gap] = found["gaps"]
    assert (gap["executionId"], gap["instanceId"]) == ("x", "task:triage:a")
    assert (gap["missing"], gap["highest"]) == (6, 10)
    assert gap["ranges"] == [[1, 2], [5, 6], [8, 9]]
    await collector.send(*(event(n) for n in (9, 8, 1, 2, 6, 5)))
    assert await collector.get("/api/gaps") == {"total": 0, "gaps": []}


async def test_two_events_in_one_place_do_not_fill_a_gap(collector: Sender) -> None:
    await collector.send(event(1), event(3))
    await collector.send(event(3, eventId="another"), event(1, eventId="one more"))
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert gap["ranges"] == [[2, 2]]


async def test_a_gap_of_any_size_is_one_range(collector: Sender) -> None:
    await collector.send(event(1), {**event(2), "sequence": 2**50})
    [gap] = (await collector.get("/api/gaps"))["gaps"]
    assert gap["ranges"] == [[2, 2**50 - 1]]


async def test_rates_count_runs_failures_and_retries_per_minute_and_hour(
    collector: Sender,
) -> None:
    events = [event(n) for n in range(1, 121)]
    events += [failed(n, willRetry=n % 2 == 0) for n in range(121, 131)]
    await collector.send(*events, event(1, executionId="other", jobName="other"))
    for step, parts in (("minute", 3), ("hour", 1)):
        found = await collector.get("/api/rates", step=step, job="triage")
        buckets = found["buckets"]
        sums = {
            name: sum(bucket[name] for bucket in buckets)
            for name in ("executed", "failed", "retried", "events")
        }
        assert sums == {"executed": 120, "failed": 10, "retried": 5, "events": 130}
        assert parts <= len(buckets) <= parts + 1
    before = int(START.timestamp() * 1000) - 86_400_000
    empty = await collector.get("/api/rates", since=before, until=before + 3_600_000)
    assert empty["buckets"] == []


async def test_cursors_give_every_event_and_instance_once(collector: Sender) -> None:
    events = [event(1, executionId=f"e{n}", instanceId=f"task:triage:{n:02}") for n in range(25)]
    await collector.send(*events)
    for view, identity in (("events", "eventId"), ("instances", "instanceId")):
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            more = {"cursor": cursor} if cursor else {}
            found = await collector.get(f"/api/{view}", limit=10, **more)
            seen += [one[identity] for one in found[view]]
            cursor = found["cursor"]
        assert cursor is None
        assert seen == sorted((one[identity] for one in events), key=seen.index)
        assert len(set(seen)) == 25


async def test_events_are_found_by_each_filter_newest_first(collector: Sender) -> None:
    await collector.send(event(1), failed(2), event(3))
    await collector.send(event(1, executionId="y", instanceId="task:b:b", jobName="b"))
    assert await collector.ids(execution="x") == ["x-3", "x-2", "x-1"]
    assert await collector.ids(instance="task:b:b") == ["y-1"]
    assert await collector.ids(type="job.failed") == ["x-2"]
    assert await collector.ids(job="triage", type="job.executed") == ["x-3", "x-1"]
    moment = event(2)["timestamp"]
    assert await collector.ids(since=moment, job="triage") == ["x-3", "x-2"]
    assert await collector.ids(until=moment, job="triage") == ["x-1"]


async def test_any_filter_gives_the_events_of_many_hours_page_by_page(collector: Sender) -> None:
    chance = random.Random(7)
    kinds, jobs = ["job.executed", "job.executed", "job.terminated"], ["a", "a", "b"]
    events = [
        event(n, type=chance.choice(kinds), jobName=chance.choice(jobs), timestamp=_hours_ago(n))
        for n in range(1, 200)
    ]
    events.append(event(200, type="job.started", timestamp=_hours_ago(999)))
    await collector.send(*events)
    since, until = _hours_ago(170), _hours_ago(20)
    for kind in (None, "job.executed", "job.terminated", "job.started", "never"):
        for job in (None, "a", "b", "never"):
            for span in ({}, {"since": since}, {"until": until}, {"since": since, "until": until}):
                wanted = [
                    one["eventId"]
                    for one in events
                    if kind in (None, one["type"])
                    and job in (None, one["jobName"])
                    and span.get("since", "0") <= one["timestamp"] < span.get("until", "3")
                ]
                given = {"type": kind, "job": job, **span}
                asked = {name: value for name, value in given.items() if value}
                assert await _all_pages(collector, limit=70, **asked) == wanted


def _hours_ago(number: int) -> str:
    """Several an hour, none at the same moment."""
    return iso_ms(START - timedelta(minutes=17 * number))


async def _all_pages(collector: Sender, **asked: Any) -> list[str]:
    found = await collector.get("/api/events", **asked)
    ids = [one["eventId"] for one in found["events"]]
    while found["cursor"]:
        found = await collector.get("/api/events", **asked, cursor=found["cursor"])
        ids += [one["eventId"] for one in found["events"]]
    return ids


@pytest.mark.parametrize(
    "query",
    [
        "events?limit=0",
        "events?limit=x",
        "events?cursor=x",
        "events?cursor=1~x",
        "events?cursor=99999999999999999999~1",
        "events?since=now",
        "instances?cursor=1",
        "rates?step=day",
        "rates?step=minute&since=0",
        "stream?after=x",
    ],
)
async def test_a_wrong_parameter_is_named(collector: Sender, query: str) -> None:
    answer = await collector.http.get(f"/api/{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]


LATER = "2126-01-01T00:00:00.000Z"
ALARM = {"type": "task.scheduled", "scheduledAt": LATER, "trigger": "event"}


@pytest.mark.parametrize(
    ("kind", "events", "state"),
    [
        ("continuous", [event(1, type="job.started")], "scheduled"),
        ("task", [event(1, type="job.started")], "running"),
        ("task", [failed(1)], "retrying"),
        ("task", [failed(1), event(2)], "idle"),
        ("task", [failed(1, willRetry=False)], "failed"),
        (
            "task",
            [event(1, **ALARM)],
            "scheduled",
        ),
        ("debounce", [event(1, type="debounce.started", flushAt=LATER)], "debouncing"),
        (
            "debounce",
            [
                event(1),
                event(2, type="debounce.flushed", eventCount=1, reason="manual", durationMs=1),
            ],
            "completed",
        ),
        ("task", [event(1), event(2, type="job.terminated")], "terminated"),
        ("task", [event(2, type="job.terminated"), event(1)], "terminated"),
    ],
)
async def test_the_state_follows_from_the_events_in_their_own_order(
    collector: Sender, kind: str, events: list[dict[str, Any]], state: str
) -> None:
    for one in events:
        await collector.send({**one, "jobType": kind})
    [instance] = (await collector.get("/api/instances", state=state))["instances"]
    assert instance["state"] == state


async def test_instances_are_found_by_type_job_and_text(collector: Sender) -> None:
    await collector.send(
        event(1),
        event(
            1, executionId="y", instanceId="continuous:b:100%_B", jobName="b", jobType="continuous"
        ),
    )
    for query in ({"type": "continuous"}, {"job": "b"}, {"text": "%_b"}, {"text": "CONT"}):
        found = (await collector.get("/api/instances", **query))["instances"]
        assert [one["instanceId"] for one in found] == ["continuous:b:100%_B"]
    assert (await collector.get("/api/instances", text="__"))["instances"] == []


async def test_after_a_restart_everything_is_there_and_nothing_is_kept_twice(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "events.db") as collector:
        await collector.send(event(1), failed(3))
        before = [await collector.get(f"/api/{view}") for view in ("events", "instances", "gaps")]
    async with running(tmp_path / "events.db") as collector:
        after = [await collector.get(f"/api/{view}") for view in ("events", "instances", "gaps")]
        assert after == before
        assert (await collector.send(event(1), event(2)))["duplicates"] == 1
        assert (await collector.get("/api/gaps"))["total"] == 0


async def test_retention_deletes_what_came_long_ago_and_calls_nothing_missing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.db"
    async with running(path) as collector:
        await collector.send(*(event(n) for n in range(1, 3001)))
        gone = {"executionId": "w", "instanceId": "debounce:d:1", "jobType": "debounce"}
        await collector.send(event(1, **gone))
    with sqlite3.connect(path) as file:
        long_ago = int((time.time() - 3 * 86_400) * 1000)
        file.execute("UPDATE events SET received = ? WHERE sequence <= 2500", (long_ago,))
        # What comes last is what is kept.
        file.execute("UPDATE events SET seq = -seq WHERE instance = 'debounce:d:1'")
    async with running(path, retention=timedelta(days=2)) as collector:

        async def swept() -> bool:
            return (await collector.get("/api/summary"))["events"] == 500

        await eventually(swept)
        [instance] = (await collector.get("/api/instances"))["instances"]
        assert instance["instanceId"] == "task:triage:a"
        await collector.send(event(3001))
        assert (await collector.get("/api/gaps"))["total"] == 0
        await collector.send(event(3003))
        [gap] = (await collector.get("/api/gaps"))["gaps"]
        assert (gap["missing"], gap["ranges"]) == (1, [[3002, 3002]])


async def test_what_came_late_and_is_kept_is_found_by_its_type(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with running(path) as collector:
        await collector.send(event(1), event(2, timestamp="2020-01-01T00:00:00.000Z"), event(3))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE events SET received = 0 WHERE sequence = 1")
    async with running(path, retention=timedelta(days=2)) as collector:

        async def swept() -> bool:
            return (await collector.get("/api/summary"))["events"] == 2

        await eventually(swept)
        assert await collector.ids(type="job.executed") == ["x-3", "x-2"]


async def test_a_quiet_instance_outlives_its_events_so_that_no_gap_is_invented(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.db"
    async with running(path) as collector:
        await collector.send(event(1), event(2))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE events SET received = 0")
    async with running(path, retention=timedelta(days=2)) as collector:

        async def swept() -> bool:
            return (await collector.get("/api/summary"))["events"] == 0

        await eventually(swept)
        await collector.send(event(3))
        assert (await collector.get("/api/gaps"))["total"] == 0


@pytest.mark.parametrize("text", ["", "30", "0d", "-1d", "30 days", "1y"])
def test_a_wrong_retention_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30d"):
        parse_retention(text)
    assert parse_retention("90m") == timedelta(minutes=90)


async def test_a_file_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE theirs (a)")
    with pytest.raises(ValueError, match=r"other\.db"):
        async with collecting(CollectorSettings(path)):
            pass
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
