"""What retention deletes is neither missing nor new."""

import json
import random
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from durable_jobs.tracking.collector.intake import read_batch
from durable_jobs.tracking.collector.queries import Page, gaps
from durable_jobs.tracking.collector.retention import Clock, forget_step
from durable_jobs.tracking.collector.schema import open_reader, open_writer
from durable_jobs.tracking.collector.sequences import acknowledge
from durable_jobs.tracking.collector.writing import write
from tests.support import eventually

from .support import event, failed, forgetting, running, until_left


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
        await until_left(collector, 500)
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
        await until_left(collector, 2)
        assert await collector.ids(type="job.executed") == ["x-3", "x-2"]


async def test_counts_are_forgotten_with_their_events_while_others_keep_coming(
    tmp_path: Path,
) -> None:
    long_ago = {"timestamp": "2020-01-01T00:00:00.000Z", "jobName": "old"}
    async with forgetting(tmp_path / "events.db", event(1, **long_ago), event(2), keep=1) as it:
        assert (await it.get("/api/summary"))["jobs"] == ["triage"]
        for step in ("minute", "hour"):
            span = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}
            assert (await it.get("/api/rates", **span, step=step))["buckets"] == []


async def test_a_quiet_instance_outlives_its_events_so_that_no_gap_is_invented(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.db"
    async with running(path) as collector:
        await collector.send(event(1), event(2))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE events SET received = 0")
    async with running(path, retention=timedelta(days=2)) as collector:
        await until_left(collector, 0)
        await collector.send(event(3))
        assert (await collector.get("/api/gaps"))["total"] == 0


async def test_what_was_forgotten_and_comes_again_fills_no_gap_and_is_not_counted_again(
    tmp_path: Path,
) -> None:
    first = [event(n) for n in range(1, 11)]
    async with forgetting(tmp_path / "events.db", *first) as collector:
        await collector.send(event(12))
        again = await collector.send(event(1), event(10), event(5))
        assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, 3, [])
        [gap] = (await collector.get("/api/gaps"))["gaps"]
        assert (gap["missing"], gap["ranges"], gap["clashes"]) == (1, [[11, 11]], 0)
        [instance] = (await collector.get("/api/instances"))["instances"]
        assert (instance["executed"], instance["events"]) == (11, 11)
        buckets = (await collector.get("/api/rates"))["buckets"]
        assert sum(bucket["executed"] for bucket in buckets) == 11
        assert await collector.ids() == ["x-12"]


async def test_what_was_missing_stays_so_by_name_and_may_still_come(tmp_path: Path) -> None:
    # The seventh came late and is kept, although the tenth is not.
    first = [event(n) for n in (1, 2, 6, 10, 7)]
    async with forgetting(tmp_path / "events.db", *first, keep=1) as collector:
        [gap] = (await collector.get("/api/gaps"))["gaps"]
        assert (gap["missing"], gap["ranges"]) == (5, [[3, 5], [8, 9]])
        await collector.send(event(12))
        late = await collector.send(event(4), event(6), event(8), event(2), event(4))
        assert (late["accepted"], late["duplicates"]) == (2, 3)
        [gap] = (await collector.get("/api/gaps"))["gaps"]
        assert (gap["missing"], gap["ranges"]) == (4, [[3, 3], [5, 5], [9, 9], [11, 11]])
        assert (await collector.send(*(event(n) for n in (3, 5, 9, 11))))["accepted"] == 4
        assert (await collector.get("/api/gaps"))["total"] == 0
        assert (await collector.send(event(3), event(10)))["accepted"] == 0


@pytest.mark.parametrize("reason", ["no more", "idle for 1:00:00"])
async def test_an_execution_that_is_wholly_forgotten_does_not_come_back(
    tmp_path: Path, reason: str
) -> None:
    last = event(2, type="job.terminated", reason=reason)
    async with forgetting(tmp_path / "events.db", event(1), last) as collector:
        assert (await collector.get("/api/instances"))["instances"] == []
        assert (await collector.send(last))["duplicates"] == 1
        assert (await collector.get("/api/gaps"))["total"] == 0
        assert (await collector.get("/api/instances"))["instances"] == []


async def test_of_an_old_execution_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    old = {"timestamp": "2020-01-02T00:00:00.000Z"}
    sent = [failed(2, **old), event(4, type="job.terminated", **old)]
    async with forgetting(path, *sent):
        with sqlite3.connect(path) as file:
            for table in ("events", "instances", "executions", "holes", "endings"):
                assert file.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table


async def test_a_quiet_execution_is_known_until_its_instance_goes_on_under_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.db"
    old = {"timestamp": "2020-01-02T00:00:00.000Z"}
    async with forgetting(path, event(1, **old), event(3, **old)):
        pass
    for _ in range(2):
        two_days_pass(path)
        async with running(path, retention=timedelta(days=1)) as collector:
            await eventually(lambda: looked_at(path))
            [gap] = (await collector.get("/api/gaps"))["gaps"]
            assert gap["ranges"] == [[2, 2]]
    async with running(path) as collector:
        await collector.send(event(1, executionId="y"))
    two_days_pass(path)
    async with running(path, retention=timedelta(days=1)) as collector:

        async def whole() -> bool:
            return (await collector.get("/api/gaps"))["total"] == 0

        await eventually(whole)
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT execution FROM executions").fetchall() == [("y",)]
        for table in ("holes", "endings"):
            assert file.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table


def two_days_pass(path: Path) -> None:
    """Let those be due that were looked at."""
    with sqlite3.connect(path) as file:
        file.execute("UPDATE endings SET last_at = 0")


def looked_at(path: Path) -> bool:
    """Whether those that were due are due no more."""
    with sqlite3.connect(path) as file:
        return file.execute("SELECT count(*) FROM endings WHERE last_at = 0").fetchone()[0] == 0


async def test_what_came_while_the_clock_was_ahead_is_kept_for_as_long_as_the_rest(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.db"
    async with running(path) as collector:
        await collector.send(*(event(n) for n in range(1, 7)))
    ahead, long_ago = int((time.time() + 40 * 86_400) * 1000), 0
    with sqlite3.connect(path) as file:
        file.execute("UPDATE events SET received = ? WHERE seq IN (3, 4)", (ahead,))
        file.execute("UPDATE events SET received = ? WHERE seq NOT IN (3, 4)", (long_ago,))
    async with running(path, retention=timedelta(days=1)) as collector:
        await until_left(collector, 4)
        assert await collector.ids() == ["x-6", "x-5", "x-4", "x-3"]
        assert (await collector.get("/api/gaps"))["total"] == 0
    with sqlite3.connect(path) as file:
        [(latest,)] = file.execute("SELECT max(received) FROM events").fetchall()
        assert latest <= time.time() * 1000
        # A day later, by the clock as it is now.
        file.execute("UPDATE events SET received = received - 86400000 WHERE received > 0")
    async with running(path, retention=timedelta(days=1)) as collector:
        await until_left(collector, 0)
        await collector.send(event(7))
        assert (await collector.get("/api/gaps"))["total"] == 0


class Watch:
    """A clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float) -> float:
        """So long passes; how far the time is from what it was at the start."""
        self.wall += seconds
        self.steady += seconds
        return self.clock.now() / 1000 - 1_800_000_000


def test_a_clock_that_jumps_ahead_and_comes_back_makes_nothing_old() -> None:
    watch = Watch()
    assert watch.passes(30) == 30
    watch.wall += 40 * 86_400
    assert watch.passes(30) == 60
    assert watch.passes(3_600) == 3_660
    watch.wall -= 40 * 86_400
    assert watch.passes(30) == 3_690


def test_a_clock_that_stays_ahead_is_believed_after_a_day() -> None:
    watch = Watch()
    watch.wall += 40 * 86_400
    assert watch.passes(30) == 30
    assert watch.passes(86_401) == 40 * 86_400 + 86_431
    assert watch.passes(30) == 40 * 86_400 + 86_461


def test_a_clock_that_is_set_back_or_drifts_is_believed_at_once() -> None:
    watch = Watch()
    watch.wall -= 7_200
    assert watch.passes(30) == -7_170
    watch.wall += 200
    assert watch.passes(30) == -6_940


class Books:
    """A file, without a server, and what should be in it."""

    def __init__(self, path: Path, seed: int) -> None:
        self._writer, self.chance = open_writer(path), random.Random(seed)
        self._reader = open_reader(path)
        self._came: dict[str, set[int]] = {"a": set(), "b": set()}
        self.known: dict[str, set[int]] = {"a": set(), "b": set()}

    def send(self) -> None:
        """Send a few events, many of them again; exactly those that never came are new."""
        places = [(self.chance.choice("ab"), self.chance.randrange(1, 40)) for _ in range(6)]
        sent = [event(n, executionId=name, instanceId=name) for name, n in places]
        new = {(name, n) for name, n in places if n not in self._came[name]}
        for name, n in new:
            self._came[name].add(n)
        with self._transaction():
            added = write(self._writer, read_batch(json.dumps({"events": sent}).encode()).accepted)
        assert {(one.execution, one.sequence) for one in added} == new
        assert len(added) == len(new)

    def forget(self) -> None:
        """Delete some of the oldest events, in steps of any size."""
        kept = [row[0] for row in self._writer.execute("SELECT seq FROM events ORDER BY seq")]
        last = self.chance.choice(kept or [0])
        self._writer.execute("UPDATE events SET received = 0 WHERE seq <= ?", (last,))
        with self._transaction():
            while forget_step(self._writer, 1, step=self.chance.choice([1, 3, 1000])):
                pass

    def acknowledge(self) -> None:
        """Say of what is missing now that it is known."""
        which = self.chance.choice(["a", "b", None])
        with self._transaction():
            acknowledge(self._writer, which, 10)
        for name, came in self._came.items():
            if which in (None, name):
                self.known[name] |= set(range(1, max(came, default=0))) - came

    def check(self) -> None:
        """What never came and nobody acknowledged is missing, and nothing else."""
        found = gaps(self._reader, Page(10))["gaps"]
        named = {gap["executionId"]: gap for gap in found}
        for name, came in self._came.items():
            gap = named.get(name, {"ranges": [], "missing": 0, "clashes": 0})
            listed = [n for first, last in gap["ranges"] for n in range(first, last + 1)]
            assert listed == sorted(set(range(1, max(came, default=0))) - came - self.known[name])
            assert (gap["missing"], gap["clashes"]) == (len(listed), 0)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        yield
        self._writer.execute("COMMIT")


@pytest.mark.parametrize("seed", range(10))
def test_whatever_comes_late_or_again_only_what_never_came_is_missing(
    tmp_path: Path, seed: int
) -> None:
    books = Books(tmp_path / "events.db", seed)
    for _ in range(50):
        steps = (books.send, books.send, books.send, books.forget, books.acknowledge)
        books.chance.choice(steps)()
        books.check()
    books.close()
