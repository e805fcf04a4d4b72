"""Values nested so deeply that JSON readers give up, once more is wrapped around them."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    InvalidEvent,
    InvalidState,
    JobClient,
    TaskJob,
    TaskRun,
)
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.wire import MAX_DEPTH, too_deep
from tests.support import eventually
from tests.support.jobs import QUICK, last_error_of, new_key, running_worker, until_settled
from tests.support.wrong_input import payload, result_of


class Anything(DebounceJob[Any]):
    name = "anything"
    flush_after = timedelta(hours=1)
    include_state_in_events = True

    async def execute(self, run: DebounceRun[Any]) -> None:
        """Nothing."""


class Latest(TaskJob[Any, Any, Any]):
    """Keeps and answers what it was sent; a number is wrapped so often."""

    name = "latest-thing"
    retry = QUICK
    include_state_in_events = True

    def initial_state(self, key: str) -> Any:
        return "none yet"

    async def on_event(self, run: TaskRun[Any], event: Any) -> Any:
        run.state = nested(event) if isinstance(event, int) else event
        return event

    async def execute(self, run: TaskRun[Any]) -> None:
        """Nothing."""


class Idle(ContinuousJob[Any]):
    name = "idle"
    schedule = Every(timedelta(hours=1))
    start_immediately = False

    def initial_state(self, key: str) -> Any:
        return None

    async def execute(self, run: ContinuousRun[Any]) -> None:
        """Nothing."""


def nested(depth: int) -> Any:
    """Lists inside each other."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.fixture(scope="module")
async def queue() -> str:
    return f"test-{new_key()}"


@pytest.fixture(scope="module")
async def jobs(client: Client, queue: str) -> AsyncIterator[JobClient]:
    all_jobs = Anything(), Latest(), Idle()
    async with running_worker(client, queue, *all_jobs, tracking=Tracking(MemorySink())) as jobs:
        yield jobs


async def started(client: Client, queue: str, kind: str, signal: str, *arguments: Any) -> Any:
    job, workflow = {
        "debounce": (Anything.name, "DebounceJob"),
        "task": (Latest.name, "TaskJob"),
    }[kind]
    key = new_key()
    return await client.start_workflow(
        workflow,
        {"job": job, "key": key},
        id=f"{kind}:{job}:{key}",
        task_queue=queue,
        start_signal=signal,
        start_signal_args=arguments,
    )


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("depth", [101, 150, 190, 197, 198, 199, 200, 201, 250])
@pytest.mark.parametrize(("kind", "signal"), [("debounce", "add"), ("task", "send")])
async def test_a_raw_event_nested_too_deep_is_rejected(
    client: Client, queue: str, kind: str, signal: str, depth: int
) -> None:
    handle = await started(client, queue, kind, signal, payload(b"[" * depth + b"]" * depth))
    status = await handle.query("status")
    assert (status["eventCount"], status["rejectedEvents"]) == (0, 1)
    await handle.signal(f"{signal}_batch", {"events": [{"data": "well"}, {"data": nested(101)}]})
    await eventually(lambda: _state_is(handle, "well"))
    status = await handle.query("status")
    assert status["rejectedEvents"] == 2
    assert "inside each other" in status["rejections"][-1]["reason"]
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(signal, nested(101))
    await handle.signal("terminate")
    assert (await result_of(handle))["status"] == "terminated"


async def _state_is(handle: WorkflowHandle[Any, Any], state: Any) -> bool:
    return await handle.query("state") == state


async def test_values_just_at_the_limit_go_all_the_way(client: Client, jobs: JobClient) -> None:
    anything = jobs.debounce(Anything, new_key())
    await anything.add(nested(MAX_DEPTH))
    assert await anything.state() == nested(MAX_DEPTH)
    await anything.flush()
    await result_of(client.get_workflow_handle(anything.instance_id))
    assert await anything.state() == nested(MAX_DEPTH)
    latest = jobs.task(Latest, new_key())
    for _ in range(2):
        assert await latest.ask(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    assert await latest.state() == nested(MAX_DEPTH)
    await latest.terminate()
    idle = jobs.continuous(Idle, new_key())
    assert (await idle.start(nested(MAX_DEPTH))).created
    await idle.trigger()
    assert await idle.state() == nested(MAX_DEPTH)
    await idle.terminate()


async def test_the_client_refuses_what_is_nested_too_deep(jobs: JobClient) -> None:
    anything, latest = jobs.debounce(Anything, new_key()), jobs.task(Latest, new_key())
    for call in (anything.add, anything.add_confirmed, latest.send, latest.ask):
        with pytest.raises(InvalidEvent, match="inside each other"):
            await call(nested(MAX_DEPTH + 1))
    with pytest.raises(InvalidState, match="inside each other"):
        await jobs.continuous(Idle, new_key()).start(nested(MAX_DEPTH + 1))


async def test_a_state_that_a_handler_nests_too_deep_fails_the_run_and_is_not_kept(
    jobs: JobClient,
) -> None:
    latest = jobs.task(Latest, new_key())
    await latest.send("first")
    await latest.send(MAX_DEPTH + 1)
    assert "inside each other" in await last_error_of(latest)
    assert (await until_settled(latest)).run_count == 2
    assert await latest.state() == "first"
    await latest.terminate()


@pytest.mark.parametrize(
    ("value", "depth"),
    [
        (5, 0),
        ([], 1),
        ({"a": [{}, [1]]}, 3),
        ([["[", '"[', "\\", '\\"['], "]]"], 2),
        ([[1], [2], [3], [[4]]], 3),
        ({"{[": {'"{': 1}}, 2),
    ],
)
def test_depth_is_counted_outside_of_strings(value: Any, depth: int) -> None:
    data = json.dumps(value).encode()
    assert not too_deep(data, depth)
    assert depth == 0 or too_deep(data, depth - 1)
