"""A pool whose worker is killed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles import WorkerPoolHandle
from tests.support import eventually
from tests.support.kill_worker import Haul
from tests.support.scene import Scene, stage


@pytest.fixture
async def scene(
    server: EmbeddedServer, client: Client, queue: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with stage(server, client, queue, tmp_path) as scene:
        yield scene


async def test_a_killed_worker_loses_no_event_and_no_order(scene: Scene) -> None:
    scene.hold()
    pool = scene.jobs.worker_pool(Haul)
    instances = [f"workerPool:haul:{index}" for index in range(2)]
    with scene.worker() as first:
        await pool.enqueue_many(range(20))
        for instance in instances:
            await scene.begun(instance)
        await first.killed()
    scene.release()
    with scene.worker():
        await eventually(lambda: _handled(pool, 20))
        await pool.terminate()
    loads: list[int] = []
    for instance in instances:
        calls = [line.split()[1:4] for line in scene.notes(instance)]
        assert [call[2] for call in calls][:2] == ["attempt=1", "attempt=2"]
        assert calls[0][:2] == calls[1][:2]
        once = list(dict.fromkeys(int(call[0].removeprefix("load=")) for call in calls))
        assert once == sorted(once)
        keys = scene.keys(instance)
        assert keys[0] == keys[1]
        assert len(set(keys)) == len(once)
        loads += once
    assert sorted(loads) == list(range(20))


async def _handled(pool: WorkerPoolHandle[int], count: int) -> bool:
    status = await pool.status()
    return (status.handled_events, status.event_count) == (count, 0)
