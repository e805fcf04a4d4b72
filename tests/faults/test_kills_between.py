"""Workers that are killed between two handlers: it is as if it had not happened."""

import asyncio
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.workflows import carry
from tests.support import Python, eventually
from tests.support.lives import Event, histories_of, in_order, specific
from tests.support.mortal import CONTINUING, LONG, POINTS, mortal_jobs
from tests.support.scene import Scene, at_rest, stage

SECOND = timedelta(seconds=1)
PASSING = {"durationMs", "scheduledAt"}


@dataclass(frozen=True)
class Lived:
    """What there is to see of an instance that has ended."""

    state: Any
    calls: list[str]
    """Each attempt: its handler, numbers, the state it ended with and its key, by first use."""

    life: list[Event]
    """What was tracked, without times."""

    runs: int
    """Temporal runs."""


Begin = Callable[[Scene], Awaitable[str]]
Watch = Callable[[Client, str], Awaitable[bool]]


async def a_task(scene: Scene) -> str:
    """Its events come as it has become idle after the one before."""
    return await _start(scene, "TaskJob", "task:course", "send", ["first"])


async def a_continuous(scene: Scene) -> str:
    """Needs nobody."""
    return await _start(scene, "ContinuousJob", "continuous:rounds")


async def _start(
    scene: Scene, workflow: str, name: str, signal: str | None = None, args: Any = ()
) -> str:
    key, job = uuid.uuid4().hex, name.split(":")[1]
    handle = await scene.client.start_workflow(
        workflow,
        {"job": job, "key": key},
        id=f"{name}:{key}",
        task_queue=scene.queue,
        start_signal=signal,
        start_signal_args=args,
        # The server waits so long for a killed worker to end what it had begun.
        task_timeout=SECOND,
    )
    return handle.id


async def drive(scene: Scene, instance_id: str) -> None:
    """Send a task its other events, each once it has become idle."""
    raw = scene.client.get_workflow_handle(instance_id)
    for number, event in enumerate(("second", "last"), 1):
        await eventually(lambda: _idle_calls(scene, instance_id) == number)  # noqa: B023
        await raw.signal("send", event)


def _idle_calls(scene: Scene, instance_id: str) -> int:
    return sum(" idle run=" in line for line in scene.notes(instance_id))


# -- where it is killed from outside


async def a_timer_is_pending(client: Client, instance_id: str) -> bool:
    """A timer runs."""
    history = await client.get_workflow_handle(instance_id).fetch_history()
    kinds = Counter(event.WhichOneof("attributes") for event in history.events)
    over = kinds["timer_fired_event_attributes"] + kinds["timer_canceled_event_attributes"]
    return kinds["timer_started_event_attributes"] > over and at_rest(history)


async def an_attempt_is_awaited(client: Client, instance_id: str) -> bool:
    """The first attempt has failed, the second one has not begun, in whichever Temporal run."""
    handle = client.get_workflow_handle(instance_id)
    status = await handle.query("status")
    return status["status"] == "retrying" and at_rest(await handle.fetch_history())


WATCHED: dict[str, Watch] = {
    "a timer is pending": a_timer_is_pending,
    "an attempt is awaited": an_attempt_is_awaited,
}

ALL_POINTS = [*POINTS, CONTINUING, *WATCHED]


@dataclass
class Theatre:
    """Where instances live once, each in a scene of its own."""

    server: EmbeddedServer
    client: Client
    folders: pytest.TempPathFactory

    async def live(self, begin: Begin, point: str | None) -> Lived:
        """Live a whole life; at a point, the worker is killed and another one goes on."""
        folder = self.folders.mktemp("scene")
        async with self._scene(folder) as scene:
            if point in WATCHED:
                scene.hold()
            instance_id = await begin(scene)
            driven = asyncio.create_task(
                drive(scene, instance_id) if begin is a_task else asyncio.sleep(0)
            )
            if point is not None:
                await self._until_killed(scene, instance_id, point)
            with scene.worker():
                await driven
                await scene.result(instance_id)
                return await self._lived(scene, instance_id)

    @asynccontextmanager
    async def _scene(self, folder: Path) -> AsyncIterator[Scene]:
        queue = f"test-{uuid.uuid4().hex[:12]}"
        async with stage(self.server, self.client, queue, folder, mortal_jobs) as scene:
            yield scene

    async def _until_killed(self, scene: Scene, instance_id: str, point: str) -> None:
        with scene.worker(point) as worker:
            if point in WATCHED:
                watch = WATCHED[point]
                await eventually(lambda: watch(self.client, instance_id), every=0.01)
                worker.signal(signal.SIGKILL)
                scene.release()
            assert await _death(worker) == -signal.SIGKILL

    async def _lived(self, scene: Scene, instance_id: str) -> Lived:
        def tracked() -> list[Event]:
            events = in_order(scene.collector.accepted, instance_id)
            return events if events and events[-1]["type"] == "job.terminated" else []

        events = await eventually(tracked)
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        state = await self.client.get_workflow_handle(instance_id).query("state")
        life = [_lasting(event) for event in events]
        runs = len(await histories_of(self.client, scene.queue))
        return Lived(state, _calls(scene, instance_id), life, runs)


async def _death(worker: Python) -> int:
    return await worker.exit_code(within=30)


def _lasting(event: Event) -> Event:
    return {name: value for name, value in specific(event).items() if name not in PASSING}


def _calls(scene: Scene, instance_id: str) -> list[str]:
    keys = list(dict.fromkeys(scene.keys(instance_id)))
    lines = [line.split() for line in scene.notes(instance_id)]
    calls = zip(lines, scene.keys(instance_id), strict=True)
    return [
        " ".join([*_without_start(line[1:], lines), f"key={keys.index(key)}"])
        for line, key in calls
    ]


def _without_start(call: list[str], lines: list[list[str]]) -> list[str]:
    """With a due time as the seconds from the first one."""
    try:
        first, due = datetime.fromisoformat(lines[0][1]), datetime.fromisoformat(call[0])
    except ValueError:
        return call
    return [str(due - first), *call[1:]]


@pytest.fixture(scope="module")
def theatre(
    server: EmbeddedServer, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Theatre:
    return Theatre(server, client, tmp_path_factory)


@pytest.fixture(autouse=True, scope="module")
def _short_histories() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carry, "MAX_HISTORY_EVENTS", LONG)
        yield


@pytest.fixture(scope="module")
async def undisturbed(theatre: Theatre) -> dict[Begin, Lived]:
    """Lives in which no worker is killed."""
    task, continuous = await asyncio.gather(
        theatre.live(a_task, None), theatre.live(a_continuous, None)
    )
    assert task.state == ["first", "alarm", "idle", "second", "idle", "last"]
    assert continuous.state == [1, 2, 3, 4, 5]
    for lived, attempts, keys in ((task, 7, 6), (continuous, 6, 5)):
        assert lived.runs > 1
        assert len(lived.calls) == attempts
        assert len({call.rsplit(" ", 1)[1] for call in lived.calls}) == keys
    return {a_task: task, a_continuous: continuous}


@pytest.mark.parametrize("point", ALL_POINTS)
async def test_a_worker_killed_between_handlers_leaves_no_trace_when(
    theatre: Theatre, undisturbed: dict[Begin, Lived], point: str
) -> None:
    lives = await asyncio.gather(*(theatre.live(begin, point) for begin in undisturbed))
    for lived, expected in zip(lives, undisturbed.values(), strict=True):
        assert lived.state == expected.state
        assert lived.calls == expected.calls
        assert lived.life == expected.life
