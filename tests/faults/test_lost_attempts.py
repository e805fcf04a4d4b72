"""Attempts that cannot speak for themselves: each is told of once, and does no harm later."""

import asyncio
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_jobs import JobClient, Retry, TaskRun
from durable_jobs.definitions import threads
from durable_jobs.embedded import EmbeddedServer
from tests.support import alive, eventually
from tests.support.jobs import history_of
from tests.support.kill_worker import Blocking, Stumble, SumTwice, Tally
from tests.support.lives import TIME, executed, started, terminated, tracked_worker
from tests.support.scene import Scene, lost, stage
from tests.tracking.jobs import Basket, Handle, Item


async def test_attempts_lost_one_after_the_other_are_each_told_of(scene: Scene) -> None:
    scene.hold()
    digest = scene.jobs.debounce(SumTwice, f"held-{scene.queue}")
    await digest.add(3)
    for number in (1, 2):
        with scene.worker() as worker:
            await scene.begun(digest.instance_id, number)
            await worker.killed()
    with scene.worker():
        life = await scene.life(digest.instance_id, 5)
    reason = "Retry exhausted after 2 attempts"
    assert life == [
        started(),
        lost(1),
        {**lost(1, attempt=2), "willRetry": False},
        {"type": "job.retryExhausted", "attempts": 2, "reason": "max_attempts"},
        terminated(reason, 1, discarded=1),
    ]


async def test_an_attempt_lost_while_the_server_was_away_is_told_of_once(
    queue: str, tmp_path: Path
) -> None:
    async with EmbeddedServer(ui=False, data=tmp_path / "temporal.db") as server:
        client = await Client.connect(server.target)
        async with stage(server, client, queue, tmp_path) as scene:
            scene.hold()
            task = scene.jobs.task(Tally, f"held-{queue}")
            with scene.worker() as worker:
                await task.send(5)
                await scene.begun(task.instance_id)
                await server.kill()
                await worker.killed()
            scene.release()
            await server.restart()
            with scene.worker():
                life = await scene.life(task.instance_id, 3)
    assert life == [{"type": "job.started"}, lost(1), executed(1, "on_event", 2)]


async def test_an_attempt_that_blocks_its_worker_is_lost_and_its_late_end_counts_for_nothing(
    scene: Scene,
) -> None:
    scene.hold()
    task = scene.jobs.task(Blocking, f"held-{scene.queue}")
    with scene.worker() as blocked, scene.worker():
        await task.send(5)
        await eventually(lambda: given_up(scene, task.instance_id))
        scene.release()
        # The first attempt, and with it its worker, goes on.
        await eventually(lambda: len(scene.notes(task.instance_id)) == 4)
        await task.send(1)
        life = await scene.life(task.instance_id, 6)
        assert alive(blocked.pid)
        state = await task.state()
    assert life == [
        {"type": "job.started"},
        lost(1),
        executed(1, "on_event", 2),
        {"type": "task.scheduled", "scheduledAt": TIME, "trigger": "event"},
        executed(2, "on_event"),
        {"type": "task.scheduled", "scheduledAt": TIME, "trigger": "event"},
    ]
    assert state is not None
    assert (state.total, state.runs) == (6, [2, 1])


async def test_events_of_a_lost_burst_keep_their_keys_and_each_attempt_is_told_of(
    scene: Scene,
) -> None:
    scene.hold()
    task = scene.jobs.task(Stumble, f"held-{scene.queue}")
    for event in (1, 2, 3, 4):
        await task.send(event)
    with scene.worker() as worker:
        await scene.begun(task.instance_id, 3)
        await worker.killed()
    scene.release()
    with scene.worker():
        life = await scene.life(task.instance_id, 10)
        state = await task.state()
    assert state is not None
    assert state.runs == [1, 2, 3, 4]
    keys = [key_of_event(scene, task.instance_id, event) for event in (1, 2, 3)]
    assert [len(set(each)) for each in keys] == [1, 1, 1]
    assert [len(each) for each in keys] == [2, 3, 2]
    assert Counter(
        (event["type"], event.get("runCount"), event.get("attempt")) for event in life
    ) == {
        ("job.started", None, None): 1,
        ("job.failed", 1, 1): 1,
        ("job.executed", 1, 2): 1,
        ("job.failed", 2, 1): 1,
        ("job.failed", 2, 2): 1,
        ("job.executed", 2, 3): 1,
        ("job.failed", 3, 1): 1,
        ("job.executed", 3, 2): 1,
        ("job.failed", 4, 1): 1,
        ("job.executed", 4, 2): 1,
    }


def key_of_event(scene: Scene, instance_id: str, event: int) -> list[str]:
    """The idempotency keys under which an event was handled."""
    pairs = zip(scene.notes(instance_id), scene.keys(instance_id), strict=True)
    return [key for note, key in pairs if f'"total":{event},' in note]


async def given_up(scene: Scene, instance_id: str) -> bool:
    """Whether the server has taken the first attempt for lost."""
    return "activity_task_timed_out" in await history_of(scene.client, instance_id)


class Stubborn(Handle):
    """A plain handler whose first attempt takes no notice of its cancellation."""

    name = "stubborn"
    timeout = timedelta(milliseconds=600)
    retry = Retry(initial=timedelta(milliseconds=20), jitter=False)

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.ended = threading.Event()

    def on_event(self, run: TaskRun[Basket], event: Item) -> int:  # type: ignore[override]
        if not run.is_retry:
            with suppress(asyncio.CancelledError):
                self.go_on.wait(20)
        run.progress(1)
        run.state.total += event.n
        run.state.word += f"attempt {run.attempt}"
        if not run.is_retry:
            run.schedule(timedelta(hours=1))
            run.terminate("late")
            self.ended.set()
        return run.state.total


async def test_a_thread_that_does_not_stop_is_told_of_as_timed_out_and_changes_nothing(
    client: Client,
    queue: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "GRACE_SECONDS", 0.1)
    job = Stubborn()
    async with tracked_worker(client, queue, [job]) as worker:
        task = JobClient(client, task_queue=queue).task(Stubborn, queue)
        assert await task.ask(Item(n=2)) == 2
        life = await worker.life(task.instance_id, "job.executed")
        job.go_on.set()
        await eventually(job.ended.is_set)
        began = time.monotonic()
        assert await task.ask(Item(n=3, word="")) is not None
        state = await task.state()
        await task.terminate()
        await worker.until(task.instance_id, "job.terminated")
    message = "TimeoutError: the attempt took longer than its timeout of 0:00:00.600000"
    assert [event["type"] for event in life] == ["job.started", "job.failed", "job.executed"]
    assert life[1]["error"]["message"] == message
    assert life[2] == executed(1, "on_event", attempt=2)
    assert state is not None
    assert state.word.startswith("attempt 2")
    assert time.monotonic() - began < 19  # the thread would wait for 20
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
