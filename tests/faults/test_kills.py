"""Workers and servers that are killed in the middle of work."""

import signal
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from durable_jobs import JobsPlugin
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.kill_worker import Notebook, Sum, SumOnce, SumPatiently, Tally, Tick
from tests.support.lives import Event, executed, flushed, in_order, specific, started, terminated
from tests.support.scene import Scene, lost
from tests.tracking.collector import Collector


async def test_work_goes_on_after_a_worker_was_killed_in_the_middle_of_it(scene: Scene) -> None:
    scene.hold()
    digest = scene.jobs.debounce(Sum, f"held-{scene.queue}")
    poll = scene.jobs.continuous(Tick, f"held-{scene.queue}")
    task = scene.jobs.task(Tally, f"held-{scene.queue}")
    with scene.worker() as first:
        await digest.add(3)
        await digest.add(4)
        await poll.start()
        await task.send(5)
        for instance in (digest, poll, task):
            await scene.begun(instance.instance_id)
        await first.killed()
    await digest.add(1)
    await task.send(6)
    scene.release()
    with scene.worker():
        await scene.begun(task.instance_id, 3)
        await task.send(0)
        assert (await scene.result(digest.instance_id))["runCount"] == 2
        assert (await scene.result(task.instance_id))["runCount"] == 3
        assert (await scene.result(poll.instance_id))["runCount"] == 3
        await check_digest(scene, digest.instance_id)
        await check_poll(scene, poll.instance_id)
        await check_task(scene, task.instance_id)
        assert (await poll.state()).runs == [1, 2, 3]
        assert (await task.state()).runs == [1, 2, 3]
        assert (await task.state()).total == 11


async def test_an_only_attempt_that_is_lost_with_its_worker_fails_for_good(scene: Scene) -> None:
    scene.hold()
    digest = scene.jobs.debounce(SumOnce, f"held-{scene.queue}")
    with scene.worker() as first:
        await digest.add(3)
        await scene.begun(digest.instance_id)
        await first.killed()
    with scene.worker():
        life = await scene.life(digest.instance_id, 3)
    assert len(scene.notes(digest.instance_id)) == 1
    reason = "Retry exhausted after 1 attempts"
    end = terminated(reason, 1, discarded=1)
    assert life == [started(), {**lost(1), "willRetry": False}, end]


async def check_digest(scene: Scene, instance_id: str) -> None:
    assert scene.notes(instance_id) == [
        f"{instance_id} run=1 attempt=1 state=7",
        f"{instance_id} run=1 attempt=2 state=7",
        f"{instance_id} run=2 attempt=1 state=1",
    ]
    first, again, next_one = scene.keys(instance_id)
    assert first == again != next_one
    life = await scene.life(instance_id, 7)
    assert life == [
        *[started(), lost(1), executed(1, attempt=2), flushed(2)],
        *[started(), executed(2), flushed(1)],
    ]


async def check_poll(scene: Scene, instance_id: str) -> None:
    life = await scene.life(instance_id, 6)
    assert life == [
        {"type": "job.started"},
        *[lost(1), executed(1, attempt=2), executed(2), executed(3)],
        terminated("done", 3),
    ]


async def check_task(scene: Scene, instance_id: str) -> None:
    handled = [executed(run, "on_event", 2 if run == 1 else 1) for run in (1, 2, 3)]
    life = await scene.life(instance_id, 6)
    assert life == [{"type": "job.started"}, lost(1), *handled, terminated("done", 3)]


async def test_ticks_go_on_after_a_worker_was_killed_between_them(scene: Scene) -> None:
    poll = scene.jobs.continuous(Tick, f"free-{scene.queue}")
    with scene.worker() as first:
        await poll.start()
        await eventually(lambda: scene.collector.accepted[1:])
        await scene.begun(poll.instance_id)
        await first.killed()
    with scene.worker():
        assert (await scene.result(poll.instance_id))["runCount"] == 3
        assert (await poll.state()).runs == [1, 2, 3]
        life = await scene.life(poll.instance_id, 5)
    assert scene.notes(poll.instance_id) == [
        f'{poll.instance_id} run=1 attempt=1 state={{"total":0,"runs":[]}}',
        f'{poll.instance_id} run=2 attempt=1 state={{"total":1,"runs":[1]}}',
        f'{poll.instance_id} run=3 attempt=1 state={{"total":2,"runs":[1,2]}}',
    ]
    ticks = [executed(run) for run in (1, 2, 3)]
    assert life == [{"type": "job.started"}, *ticks, terminated("done", 3)]


async def test_an_attempt_cut_off_by_sigterm_does_not_count(scene: Scene) -> None:
    scene.hold()
    digest = scene.jobs.debounce(SumOnce, f"held-{scene.queue}")
    with scene.worker("graceful") as first:
        await digest.add(3)
        await scene.begun(digest.instance_id)
        first.signal(signal.SIGTERM)
        assert await first.exit_code() == 0
    scene.release()
    with scene.worker("graceful"):
        assert (await scene.result(digest.instance_id))["runCount"] == 1
        life = await scene.life(digest.instance_id, 3)
    assert scene.notes(digest.instance_id) == [
        f"{digest.instance_id} run=1 attempt=1 state=3",
        f"{digest.instance_id} run=1 attempt=1 state=3",
    ]
    assert len(set(scene.keys(digest.instance_id))) == 1
    assert life == [started(), executed(1), flushed(1)]


async def test_work_goes_on_after_the_temporal_server_was_killed_in_the_middle_of_it(
    queue: str, tmp_path: Path
) -> None:
    book, sink = Notebook(tmp_path), MemorySink()
    plugin = JobsPlugin([SumPatiently(book), Tick(book)], Tracking(sink))
    async with EmbeddedServer(ui=False, data=tmp_path / "temporal.db") as server:
        client = await Client.connect(server.target)
        scene = Scene(server, client, queue, tmp_path, Collector())
        scene.hold()
        async with Worker(client, task_queue=queue, plugins=[plugin]):
            digest = scene.jobs.debounce(SumPatiently, "held")
            poll = scene.jobs.continuous(Tick, "free")
            await digest.add(3)
            await poll.start()
            await scene.begun(digest.instance_id)
            await digest.add(4)
            await scene.begun(poll.instance_id)
            await server.kill()
            scene.release()
            await server.restart()
            assert (await scene.result(digest.instance_id))["runCount"] == 2
            assert (await scene.result(poll.instance_id))["runCount"] == 3
            assert (await poll.state()).runs == [1, 2, 3]
            life = await eventually(lambda: sink_life(sink, digest.instance_id, 6))
    assert scene.notes(digest.instance_id) == [
        f"{digest.instance_id} run=1 attempt=1 state=3",
        f"{digest.instance_id} run=2 attempt=1 state=4",
    ]
    assert life == [*[started(), executed(1), flushed(1)], *[started(), executed(2), flushed(1)]]


def sink_life(sink: MemorySink, instance_id: str, count: int) -> list[Event]:
    events = in_order(sink.events, instance_id)
    return [specific(event) for event in events] if len(events) == count else []
