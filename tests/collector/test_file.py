"""The file: whose it is, of which version, and what happens where it cannot be written."""

import resource
import shutil
import sqlite3
import sys
from pathlib import Path

import httpx
import pytest

from durable_jobs.tracking.collector import CollectorSettings, collecting
from tests.support import Python

from .support import COMMAND, Sender, address, event, failed, running


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE theirs (a)",
        "CREATE TABLE theirs (a); PRAGMA user_version = 1",
        "CREATE TABLE events (x); CREATE TABLE instances (x); PRAGMA user_version = 1",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 7",
        "CREATE TABLE theirs (a); PRAGMA application_id = 7; PRAGMA user_version = 2",
    ],
)
async def test_a_file_of_another_program_is_refused_and_left_as_it_is(
    tmp_path: Path, theirs: str
) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as file:
        file.executescript(theirs)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"other\.db"):
        async with collecting(CollectorSettings(path)):
            pass
    assert path.read_bytes() == before


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with running(path):
        pass
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="this version"):
        async with collecting(CollectorSettings(path)):
            pass


# What the first version had otherwise.
VERSION_1 = """
DROP TABLE holes;
DROP TABLE endings;
DROP INDEX executions_flawed;
CREATE INDEX executions_gaps ON executions (last_at) WHERE max_sequence > count;
UPDATE instances SET state = 'terminated' WHERE state = 'failed';
PRAGMA application_id = 0;
PRAGMA user_version = 1;
"""


async def test_a_file_of_the_first_version_is_used_on(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    gave_up = {"type": "job.terminated", "reason": "Retry exhausted after 2 attempts"}
    other = {"executionId": "y", "instanceId": "task:triage:b"}
    async with running(path) as collector:
        await collector.send(event(1), failed(3, willRetry=False), event(4, **gave_up))
        await collector.send(event(1, type="job.terminated", **other))
        views = ("events", "instances", "gaps", "summary")
        before = [await collector.get(f"/api/{view}") for view in views]
    with sqlite3.connect(path) as file:
        file.executescript(VERSION_1)
    async with running(path) as collector:
        after = [await collector.get(f"/api/{view}") for view in views]
        # No file says when a worker was heard of: what came last does, to the millisecond or so.
        assert before[-1].pop("workers")["alive"] == after[-1].pop("workers")["alive"]
        assert after == before
        assert before[-1]["states"] == {"failed": 1, "terminated": 1}
        await collector.send(event(2))
        assert (await collector.get("/api/gaps"))["total"] == 0


async def test_a_file_of_the_second_version_tells_planned_ends_apart(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    ends = {
        "continuous:poll:a": "max_runs reached after 2 runs",
        "continuous:poll:b": "until 2020-01-01T00:00:00+00:00 reached",
        "continuous:poll:c": "until further notice",
        "task:triage:d": "idle for 1:00:00",
        "task:triage:e": "idle for weeks",
    }
    async with running(path) as collector:
        for instance, reason in ends.items():
            more = {"instanceId": instance, "executionId": instance, "reason": reason}
            kind = {"jobType": instance.partition(":")[0], "type": "job.terminated"}
            await collector.send(event(2, **kind, **more))
        before = await collector.get("/api/instances")
    with sqlite3.connect(path) as file:
        file.execute("UPDATE instances SET state = 'terminated'")
        file.execute("PRAGMA user_version = 2")
    async with running(path) as collector:
        assert await collector.get("/api/instances") == before
        assert (await collector.get("/api/summary"))["states"] == {"completed": 3, "terminated": 2}


async def healthy(collector: Sender) -> bool:
    return (await collector.http.get("/healthz")).status_code == 200


async def test_a_file_deleted_underneath_takes_nothing_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    async with running(path) as collector:
        await collector.send(event(1))
        assert await healthy(collector)
        shutil.rmtree(tmp_path)
        for answer in (await collector.post(event(2)), await collector.http.get("/healthz")):
            assert answer.status_code == 503
            assert "is gone" in answer.json()["error"]
            assert answer.headers["retry-after"]
        assert not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
async def test_it_is_not_healthy_while_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with Python(*COMMAND, "--db", str(path), "--port", "0") as process:
        async with httpx.AsyncClient(base_url=await address(process), trust_env=False) as http:
            collector = Sender(http)
            await collector.send(event(1))
            full = (path.stat().st_size, resource.RLIM_INFINITY)
            before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, full)
            assert (await collector.post(event(2))).status_code == 503
            assert not await healthy(collector)
            # What can be read is still shown.
            assert await collector.ids() == ["x-1"]
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
            assert await healthy(collector)
            await collector.send(event(2))
            assert await collector.ids() == ["x-2", "x-1"]
