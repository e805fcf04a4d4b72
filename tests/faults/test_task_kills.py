"""Tasks whose worker is killed in a handler, or between two."""

from durable_jobs.handles import TaskHandle
from tests.support import eventually
from tests.support.kill_worker import Checkpoints, Stages
from tests.support.scene import Scene

HANDLERS = ("on_event", "execute", "on_error", "on_idle")


async def test_a_task_whose_worker_is_killed_in_any_handler_is_as_if_it_had_not_happened(
    scene: Scene,
) -> None:
    scene.hold()
    keys = {handler: f"{handler}-{scene.queue}" for handler in (*HANDLERS, "between")}
    tasks = {handler: scene.jobs.task(Stages, key) for handler, key in keys.items()}
    with scene.worker() as first:
        for task in tasks.values():
            await task.send("good")
            await task.send("bad")
        for handler in HANDLERS:
            await eventually(lambda: scene.in_handler(tasks[handler].instance_id, handler))  # noqa: B023
        # Its last run is in history, and so is the task that follows it.
        await eventually(lambda: _idle(tasks["between"]))
        await scene.begun(tasks["between"].instance_id)
        await first.killed()
    scene.release()
    with scene.worker():
        for handler, task in tasks.items():
            await eventually(lambda: _idle(task))  # noqa: B023
            assert await task.state() == ["good", "alarm", "error", "idle"]
            calls = [line.split()[1:4] for line in scene.notes(task.instance_id)]
            twice = [call for call in calls if call[0] == handler]
            if handler in HANDLERS:
                assert [call[2] for call in twice][:2] == ["attempt=1", "attempt=2"]
                assert twice[0][1] == twice[1][1]
            assert len(calls) == (6 if handler in HANDLERS else 5)
            assert len(set(scene.keys(task.instance_id))) == 5
            await task.terminate()


async def _idle(task: TaskHandle[str, list[str], None]) -> bool:
    status = await task.status()
    return status is not None and status.status == "idle" and status.run_count == 5


async def test_a_checkpoint_outlives_its_worker(scene: Scene) -> None:
    scene.hold()
    task = scene.jobs.task(Checkpoints, f"held-{scene.queue}")
    with scene.worker() as first:
        await task.send(5)
        await scene.begun(task.instance_id)
        await first.killed()
    scene.release()
    with scene.worker():
        await scene.begun(task.instance_id, 2)
        await eventually(task.state)
        assert await task.state() == [1, 2, 3, 4, 5]
    assert scene.notes(task.instance_id) == [
        f"{task.instance_id} run=1 attempt=1 state=[1, 2, 3, 4, 5]",
        f"{task.instance_id} run=1 attempt=2 state=[1, 2, 3, 4, 5]",
    ]
