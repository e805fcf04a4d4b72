"""`live_jobs` runs jobs on a real server, which a test drives as it drives a `Simulation`."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    Retry,
    TaskJob,
    TaskRun,
    collect,
)
from durable_jobs.testing import LiveJobs

MINUTE = timedelta(minutes=1)
Live = Callable[[Any], LiveJobs]


class Digest(DebounceJob[int, list[int]]):
    name = "digest"
    flush_after = 10 * MINUTE
    reduce = collect

    def __init__(self) -> None:
        self.sent: list[list[int]] = []

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        self.sent.append(run.state)


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(MINUTE)

    async def execute(self, run: ContinuousRun[int]) -> None:
        run.state += 1


class Careful(TaskJob[str, list[str]]):
    name = "careful"
    heartbeat_timeout = timedelta(seconds=1)
    retry = Retry(initial=timedelta(milliseconds=10), jitter=False)

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def on_event(self, run: TaskRun[list[str]], event: str) -> None:
        self.keys.append(run.idempotency_key)
        if not run.is_retry:
            await asyncio.sleep(60)
        run.state.append(event)

    async def execute(self, run: TaskRun[list[str]]) -> None: ...


def test_a_window_of_ten_minutes_takes_under_three_seconds(live_jobs: Live) -> None:
    live_jobs(Digest())
    began = time.monotonic()
    digest = Digest()
    live = live_jobs(digest)
    window = live.debounce(Digest, "octocat/hello")
    window.add(1)
    window.add(2)
    live.advance("9m")
    assert digest.sent == []
    live.advance("1m")
    [flushed] = live.until("debounce.flushed")
    assert digest.sent == [[1, 2]]
    assert flushed["durationMs"] >= 600_000
    assert time.monotonic() - began < 3
    live.assert_replays()


def test_each_tick_of_the_time_that_passes_runs(live_jobs: Live) -> None:
    live = live_jobs([Poll()])
    poll = live.continuous(Poll, "k")
    poll.start()
    live.until("job.executed")
    live.advance("5m30s")
    assert len(live.until("job.executed", count=6)) == 6
    assert poll.state() == 6


def test_a_killed_worker_reports_nothing_and_another_goes_on(live_jobs: Live) -> None:
    careful = Careful()
    live = live_jobs(careful)
    task = live.task(Careful, "k")
    task.send("once")
    while not careful.keys:
        time.sleep(0.01)
    live.kill_worker()
    [executed] = live.until("job.executed")
    [failed] = live.until("job.failed")
    assert (failed["attempt"], executed["attempt"]) == (1, 2)
    assert "lost with its worker" in failed["error"]["message"]
    assert len(careful.keys) == 2
    assert len({*careful.keys}) == 1
    assert task.state() == ["once"]


async def test_a_test_may_be_async(live_jobs: Live) -> None:
    digest = Digest()
    live = live_jobs(digest)
    window = live.jobs.debounce(Digest, "async")
    await window.add(7)
    await window.flush()
    live.until("debounce.flushed")
    assert digest.sent == [[7]]


def test_instances_end_with_their_test(live_jobs: Live) -> None:
    with LiveJobs(Digest()) as live:
        live.debounce(Digest, "same").add(1)
    digest = Digest()
    after = live_jobs(digest)
    after.debounce(Digest, "same").add(2)
    after.debounce(Digest, "same").flush()
    after.until("debounce.flushed")
    assert digest.sent == [[2]]


def test_what_does_not_come_is_said_with_what_did(live_jobs: Live) -> None:
    live = live_jobs(Digest())
    live.debounce(Digest, "k").add(1)
    live.until("debounce.started")
    with pytest.raises(AssertionError, match=r"0 of 1 events 'job.failed' .* debounce.started"):
        live.until("job.failed", within=timedelta(seconds=0.1))
