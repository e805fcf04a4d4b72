"""What the JSON API says of the events that came."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_jobs.tracking.ids import iso_ms

from .support import START, Sender, event, failed, running


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


@pytest.mark.parametrize(
    ("hours", "bins", "minutes"),
    [(1, 60, 2), (1, 61, 1), (24, 180, 10), (24, 500, 5), (24 * 30, 180, 360), (24 * 900, 2, 0)],
)
async def test_rates_are_summed_into_so_many_bins_as_are_asked_for(
    collector: Sender, hours: int, bins: int, minutes: int
) -> None:
    # Half a minute after a whole hour, so that no width fits the span exactly.
    until = int(START.timestamp() * 1000) // 3_600_000 * 3_600_000 - 3_570_000
    since = until - hours * 3_600_000
    times = [until - 1 - hours * 3_600_000 * n // 1000 for n in range(1000)]
    events = [event(n, timestamp=written(at)) for n, at in enumerate(times, 1)]
    await collector.send(*events)
    asked = {"since": since, "until": until, "bins": bins}
    found = await collector.get("/api/rates", **asked)
    buckets = found["buckets"]
    assert sum(bucket["executed"] for bucket in buckets) == 1000
    starts = [bucket["at"] for bucket in buckets]
    assert starts == sorted({at - at % found["step"] for at in times})
    assert len(starts) <= bins
    if minutes:
        assert found["step"] == minutes * 60_000
    assert (await collector.get("/api/rates", **asked, step="hour"))["step"] >= 3_600_000


def written(at: int) -> str:
    return iso_ms(datetime.fromtimestamp(at / 1000, UTC))


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
        "gaps?cursor=1",
        "rates?bins=1",
        "rates?bins=501",
        "rates?bins=many",
    ],
)
async def test_a_wrong_parameter_is_named(collector: Sender, query: str) -> None:
    answer = await collector.http.get(f"/api/{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("query", "known"),
    [
        ("events?instanceId=x", "instance, execution, type"),
        ("instances?limit=5&status=failed", "state"),
        ("gaps?offset=1", "cursor"),
        ("rates?bin=5", "bins"),
        ("stream?since=1", "after"),
        ("summary?job=a", "none"),
    ],
)
async def test_an_unknown_parameter_is_refused_and_the_known_ones_are_named(
    collector: Sender, query: str, known: str
) -> None:
    answer = await collector.http.get(f"/api/{query}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert query.rpartition("=")[0].rpartition("&")[2].rpartition("?")[2] in error
    assert known in error


EXHAUSTED = event(2, type="job.retryExhausted", attempts=2, reason="max_attempts")


def gave_up(sequence: int, reason: str = "Retry exhausted after 2 attempts") -> dict[str, Any]:
    return event(sequence, type="job.terminated", reason=reason)


def ended(reason: str) -> dict[str, Any]:
    """After 7 runs."""
    return event(7, type="job.terminated", reason=reason)


def paused(sequence: int, **more: Any) -> dict[str, Any]:
    """By a caller, unless said otherwise."""
    return event(sequence, **{"type": "job.paused", "by": "user", **more})


def resumed(sequence: int) -> dict[str, Any]:
    return event(sequence, type="job.resumed", by="user")


def flush(sequence: int) -> dict[str, Any]:
    return event(sequence, type="debounce.flushed", eventCount=1, reason="manual", durationMs=1)


OPENED = event(1, type="debounce.started")
NOW = iso_ms(datetime.now(UTC))
LATER = "2126-01-01T00:00:00.000Z"
ALARM = {"type": "task.scheduled", "scheduledAt": LATER, "trigger": "event"}


@pytest.mark.parametrize(
    ("kind", "events", "state"),
    [
        ("continuous", [event(1, type="job.started")], "scheduled"),
        ("task", [event(1, type="job.started")], "running"),
        ("task", [failed(1)], "retrying"),
        ("task", [failed(1), event(2)], "idle"),
        # It goes on, as its own status says.
        ("task", [failed(1, willRetry=False)], "idle"),
        ("task", [event(1, **ALARM), failed(2, willRetry=False), EXHAUSTED], "scheduled"),
        ("continuous", [failed(1, willRetry=False)], "scheduled"),
        ("debounce", [failed(1, willRetry=False), EXHAUSTED], "debouncing"),
        ("task", [event(1, type="job.later")], "running"),
        (
            "task",
            [event(1, **ALARM)],
            "scheduled",
        ),
        ("task", [event(1, **ALARM), event(2, handler="on_event")], "scheduled"),
        # A trigger's run leaves the alarm set.
        ("task", [event(1, **ALARM), event(2, handler="execute")], "scheduled"),
        # It is called where no alarm is set, so that one was cancelled.
        ("task", [event(1, **ALARM), event(2, handler="on_idle")], "idle"),
        ("task", [event(1, **ALARM), event(2, handler="on_idle"), event(3)], "idle"),
        ("task", [event(1, **ALARM), event(2, type="job.started"), event(3)], "idle"),
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
        ("task", [failed(1, willRetry=False), EXHAUSTED, gave_up(3)], "failed"),
        ("task", [gave_up(3), EXHAUSTED, failed(1, willRetry=False)], "failed"),
        ("debounce", [gave_up(3, reason="retries exhausted")], "failed"),
        # One that paused after its last attempt, and was ended by somebody.
        ("task", [EXHAUSTED, event(3, type="job.terminated", reason="given up")], "terminated"),
        ("task", [EXHAUSTED, event(3, type="job.terminated")], "terminated"),
        ("continuous", [ended("max_runs reached after 7 runs")], "completed"),
        ("continuous", [ended("until 2020-01-01T09:00:00+09:00 reached")], "completed"),
        ("task", [ended("idle for 0:00:00.300000")], "completed"),
        ("task", [ended("idle for 1 day, 0:00:00")], "completed"),
        # What somebody wrote who ended it.
        ("continuous", [ended("max_runs reached after 8 runs")], "terminated"),
        ("continuous", [ended("max_runs reached after 7 runs, they say")], "terminated"),
        ("continuous", [ended(f"until {LATER} reached")], "terminated"),
        ("continuous", [ended("until 2020-01-01T09:00:00 reached")], "terminated"),
        ("continuous", [ended("until Monday reached")], "terminated"),
        ("continuous", [ended("idle for 1:00:00")], "terminated"),
        ("task", [ended("idle for 1 hour")], "terminated"),
        ("task", [ended("max_runs reached after 7 runs")], "terminated"),
        ("debounce", [ended("idle for 1:00:00")], "terminated"),
        # Whatever else happens to it, it is paused until it is told otherwise.
        ("continuous", [event(1), paused(2)], "paused"),
        ("continuous", [event(1), paused(2, by="exhausted")], "paused"),
        ("continuous", [event(1), paused(2), event(3)], "paused"),
        ("continuous", [event(1), paused(2), failed(3)], "retrying"),
        ("continuous", [event(1), paused(2), failed(3, willRetry=False)], "paused"),
        ("continuous", [event(1), paused(2), resumed(3)], "scheduled"),
        ("continuous", [event(1), paused(2), gave_up(3)], "failed"),
        ("task", [event(1, **ALARM), paused(2), resumed(3)], "scheduled"),
        ("task", [event(1), paused(2), resumed(3)], "idle"),
        ("task", [paused(2), event(1, type="job.started")], "paused"),
        # What comes late.
        ("continuous", [event(3), paused(2)], "paused"),
        ("continuous", [event(4), resumed(3), paused(2)], "scheduled"),
        ("continuous", [gave_up(4), paused(2)], "failed"),
        # A further life is not paused because the last one was.
        ("task", [paused(2), event(1, executionId="y", timestamp=NOW)], "idle"),
        # Somebody flushed it while it was paused.
        ("debounce", [OPENED, paused(2), flush(3)], "paused"),
        ("debounce", [OPENED, paused(2), flush(3), resumed(4)], "completed"),
        ("debounce", [OPENED, paused(2), resumed(3)], "debouncing"),
        ("debounce", [OPENED, paused(2, by="exhausted"), flush(3)], "completed"),
    ],
)
async def test_the_state_follows_from_the_events_in_their_own_order(
    collector: Sender, kind: str, events: list[dict[str, Any]], state: str
) -> None:
    for one in events:
        await collector.send({**one, "jobType": kind})
    [instance] = (await collector.get("/api/instances", state=state))["instances"]
    assert instance["state"] == state
    assert (await collector.get("/api/summary"))["states"] == {state: 1}


async def test_a_paused_instance_says_by_whom_and_why(collector: Sender) -> None:
    await collector.send(event(1), paused(2, note="ann: the API is down"))
    [instance] = (await collector.get("/api/instances", state="paused"))["instances"]
    assert (instance["pausedBy"], instance["pauseNote"]) == ("user", "ann: the API is down")
    await collector.send(resumed(3))
    [instance] = (await collector.get("/api/instances", state="idle"))["instances"]
    assert (instance["pausedBy"], instance["pauseNote"]) == (None, None)


async def test_the_last_error_is_that_of_the_last_run(collector: Sender) -> None:
    for sent, error in ((failed(1), "no luck"), (event(2), None), (failed(3), "no luck")):
        await collector.send(sent)
        [instance] = (await collector.get("/api/instances"))["instances"]
        assert instance["lastError"] == error


async def test_of_thousands_of_jobs_a_summary_names_the_first(collector: Sender) -> None:
    names = [f"job-{n:04}" for n in range(4_000)]
    await collector.send(*(event(1, executionId=name, jobName=name) for name in names))
    summary = await collector.get("/api/summary")
    assert (summary["jobs"], summary["moreJobs"]) == (names[:200], True)


def alarm(minutes: float) -> dict[str, Any]:
    """Set for so long from now."""
    at = iso_ms(datetime.now(UTC) + timedelta(minutes=minutes))
    return event(2, **{**ALARM, "scheduledAt": at})


async def test_a_run_at_about_the_time_of_the_alarm_is_its_own(collector: Sender) -> None:
    # By its worker's clock it is half a minute early.
    await collector.send(event(1), alarm(0.5))
    await collector.send(event(3, timestamp=iso_ms(datetime.now(UTC)), handler="execute"))
    assert (await collector.get("/api/summary"))["states"] == {"idle": 1}


async def test_a_task_whose_alarm_should_have_rung_long_ago_is_idle(collector: Sender) -> None:
    minutes = {"a": -60, "b": -11, "c": -8, "d": 60}
    for key, due in minutes.items():
        of = {"executionId": key, "instanceId": f"task:triage:{key}", "eventId": key}
        await collector.send({**alarm(due), **of})
    assert (await collector.get("/api/summary"))["states"] == {"idle": 2, "scheduled": 2}
    for state, names in (("idle", {"a", "b"}), ("scheduled", {"c", "d"})):
        found = (await collector.get("/api/instances", state=state))["instances"]
        assert {one["executionId"] for one in found} == names
        assert {one["state"] for one in found} == {state}
    # It was only late, or somebody set another one.
    late = {"executionId": "a", "instanceId": "task:triage:a", "eventId": "again", "sequence": 3}
    await collector.send({**alarm(60), **late})
    assert (await collector.get("/api/summary"))["states"] == {"idle": 1, "scheduled": 3}


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
