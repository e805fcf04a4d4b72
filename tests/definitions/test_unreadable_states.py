"""What a handler leaves and nobody could read back fails its run for good; the state before stays.

Each of these runs has an effect, which must not be had again.
"""

import math
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field
from temporalio.client import Client

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    InvalidEvent,
    JobClient,
    JobFailed,
    TaskJob,
    TaskRun,
)
from durable_jobs.definitions import Job
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import (
    QUICK,
    last_error_of,
    new_key,
    running_worker,
    status_of,
    until_run,
    until_settled,
    until_status,
)

HOUR = timedelta(hours=1)


class Cursor(BaseModel):
    page: int = Field(default=0, ge=0)
    share: float = 0.0


BAD: dict[str, tuple[Any, str]] = {
    "another type": ("page 2", "state: Input should be an object, got str"),
    "nan": (Cursor(share=math.nan), "share is NaN or infinite"),
    "nothing": (None, "state: Input should be an object, got NoneType"),
    "plain data": ({"page": 2}, "state is Cursor, got dict"),
}


class Poll(ContinuousJob[Cursor]):
    """Leaves what it is told to; its key names it."""

    name = "poll"
    schedule = Every(HOUR)
    start_immediately = False
    retry = QUICK

    def __init__(self) -> None:
        self.effects: list[str] = []

    async def execute(self, run: ContinuousRun[Cursor]) -> None:
        self.effects.append(run.key)
        run.state.page += 1
        name = run.key.split("/")[0]
        if run.run_count == 2:
            if name == "broken rule":
                run.state.page = -1
            else:
                run.state = BAD[name][0]


class Thread(TaskJob[str, Cursor, float]):
    """Leaves or answers what the event says."""

    name = "thread"
    retry = QUICK

    def __init__(self) -> None:
        self.effects: list[str] = []

    async def on_event(self, run: TaskRun[Cursor], event: str) -> float:
        self.effects.append(event)
        run.state.page += 1
        if event == "a bad reply":
            return "five"  # type: ignore[return-value]
        if event == "a bad checkpoint":
            run.state.share = math.inf
            await run.checkpoint()
        if event in BAD:
            run.state = BAD[event][0]
        return 5.0

    async def execute(self, run: TaskRun[Cursor]) -> None:
        """No handler sets the alarm."""


class Gather(DebounceJob[str, Cursor]):
    """Folds the event named `bad` into a state that cannot be kept."""

    name = "gather"
    flush_after = HOUR
    retry = QUICK

    def __init__(self) -> None:
        self.effects: list[int] = []

    def reduce(self, state: Cursor | None, event: str) -> Cursor:
        page = state.page if state else 0
        return Cursor(page=page + 1, share=math.nan if event == "bad" else 0.0)

    async def execute(self, run: DebounceRun[Cursor]) -> None:
        self.effects.append(run.state.page)
        if run.state.page == 2:
            run.state = BAD["nothing"][0]


class Newborn(TaskJob[str, Cursor]):
    """Begins with a state of another type."""

    name = "newborn"
    retry = QUICK

    def __init__(self) -> None:
        self.effects: list[str] = []

    def initial_state(self, key: str) -> Cursor:
        return {"page": 1}  # type: ignore[return-value]

    async def on_event(self, run: TaskRun[Cursor], event: str) -> None:
        self.effects.append(event)

    async def execute(self, run: TaskRun[Cursor]) -> None:
        """No handler sets the alarm."""


class Scene:
    """A worker with these jobs, and what it sent of them."""

    def __init__(self) -> None:
        self.poll, self.thread, self.gather, self.newborn = Poll(), Thread(), Gather(), Newborn()
        self.sink = MemorySink()
        self.jobs: JobClient

    @property
    def all(self) -> list[Job]:
        return [self.poll, self.thread, self.gather, self.newborn]


@pytest.fixture(scope="module")
async def scene(client: Client) -> AsyncIterator[Scene]:
    scene = Scene()
    tracking = Tracking(scene.sink)
    async with running_worker(client, new_key(), *scene.all, tracking=tracking) as jobs:
        scene.jobs = jobs
        yield scene


@pytest.mark.parametrize("name", [*BAD, "broken rule"])
async def test_a_state_that_cannot_be_read_back_fails_its_run_for_good_and_is_not_kept(
    scene: Scene, name: str
) -> None:
    key = f"{name}/{new_key()}"
    poll = scene.jobs.continuous(Poll, key)
    await poll.start()
    await poll.trigger()
    await until_run(poll, 1)
    await poll.trigger()
    said = BAD[name][1] if name in BAD else "page: Input should be greater than or equal to 0"
    assert said in await last_error_of(poll)
    assert "poll, key " in await last_error_of(poll)
    await until_status(poll, "scheduled")
    assert await poll.state() == Cursor(page=1)
    await poll.trigger()
    await until_run(poll, 3)
    assert await poll.state() == Cursor(page=2)
    assert scene.poll.effects.count(key) == 3
    await poll.terminate()


async def test_the_failure_of_such_a_run_is_told_once_and_is_not_tried_again(scene: Scene) -> None:
    poll = scene.jobs.continuous(Poll, f"nan/{new_key()}")
    await poll.start()
    for run in (1, 2):
        await poll.trigger()
        await until_run(poll, run)
    await poll.terminate()

    def told() -> list[dict[str, Any]]:
        mine = [event for event in scene.sink.events if event["instanceId"] == poll.instance_id]
        return mine if mine and mine[-1]["type"] == "job.terminated" else []

    kinds = [event["type"] for event in await eventually(told)]
    assert kinds == ["job.started", "job.executed", "job.failed", "job.terminated"]
    [failed] = [event for event in told() if event["type"] == "job.failed"]
    assert not failed["willRetry"]
    assert "share is NaN or infinite" in failed["error"]["message"]


@pytest.mark.parametrize("name", [*BAD, "a bad checkpoint"])
async def test_a_task_sets_an_event_aside_whose_handler_leaves_such_a_state(
    scene: Scene, name: str
) -> None:
    thread = scene.jobs.task(Thread, new_key())
    scene.thread.effects.clear()
    assert await thread.ask("first") == 5.0
    with pytest.raises(JobFailed, match=r"thread, key "):
        await thread.ask(name)
    assert await thread.ask("last") == 5.0
    assert scene.thread.effects == ["first", name, "last"]
    assert await thread.state() == Cursor(page=2)
    [failed] = (await until_settled(thread)).failed_events
    assert failed["attempts"] == 1
    await thread.terminate()


async def test_a_reply_that_cannot_be_read_back_fails_its_run_and_the_state_is_not_kept(
    scene: Scene,
) -> None:
    thread = scene.jobs.task(Thread, new_key())
    scene.thread.effects.clear()
    with pytest.raises(JobFailed, match=r"reply: Input should be a valid number"):
        await thread.ask("a bad reply")
    assert scene.thread.effects == ["a bad reply"]
    assert await thread.ask("next") == 5.0
    assert await thread.state() == Cursor(page=1)
    await thread.terminate()


async def test_a_window_whose_state_cannot_be_kept_runs_no_handler_and_keeps_its_events(
    scene: Scene,
) -> None:
    gather = scene.jobs.debounce(Gather, new_key())
    scene.gather.effects.clear()
    await gather.add_many(["good", "bad"])
    await gather.flush()
    status = await until_status(gather, "paused")
    assert "share is NaN or infinite" in (status.last_error or "")
    assert (status.event_count, status.run_count) == (2, 1)
    assert scene.gather.effects == []
    await gather.terminate()


async def test_a_window_whose_handler_leaves_such_a_state_has_its_effect_once(
    scene: Scene,
) -> None:
    gather = scene.jobs.debounce(Gather, new_key())
    scene.gather.effects.clear()
    await gather.add_many(["one", "two"])
    await gather.flush()
    status = await until_status(gather, "paused")
    assert "state: Input should be an object, got NoneType" in (status.last_error or "")
    assert scene.gather.effects == [2]
    await gather.terminate()


async def test_a_first_state_that_cannot_be_kept_fails_the_run_before_its_handler(
    scene: Scene,
) -> None:
    newborn = scene.jobs.task(Newborn, new_key())
    await newborn.send("hello")
    assert "state is Cursor, got dict" in await last_error_of(newborn)
    await until_settled(newborn)
    assert scene.newborn.effects == []
    assert (await status_of(newborn)).run_count == 1
    await newborn.terminate()


async def test_an_event_that_would_not_be_read_back_is_not_sent(client: Client) -> None:
    class Share(TaskJob[Cursor, None]):
        name = "share"

        async def on_event(self, run: TaskRun[None], event: Cursor) -> None:
            """Nothing."""

        async def execute(self, run: TaskRun[None]) -> None:
            """Nothing."""

    changed = Cursor()
    changed.page = -1
    share = JobClient(client).task(Share, new_key())
    for event in (Cursor(share=math.nan), changed):
        for call in (share.send, share.ask):
            with pytest.raises(InvalidEvent, match=r"share, key '\w+': (share|page)"):
                await call(event)
    assert await share.status() is None
