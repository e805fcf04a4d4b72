"""What a client hears where no worker answers, or where another workflow has an instance's ID."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    JobClient,
    JobsError,
    NoReply,
    NoWorker,
    TaskJob,
    TaskRun,
    TemporalUnreachable,
)
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles.connection import Once
from durable_jobs.handles.task import how_it_fares
from tests.support import eventually
from tests.support.jobs import QUICK, new_key, running_worker, until_status
from tests.support.operating import Operator

BRIEF = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class Words(DebounceJob[str, list[str]]):
    name = "words"
    flush_after = HOUR

    def reduce(self, state: list[str] | None, event: str) -> list[str]:
        return [*(state or []), event]

    async def execute(self, run: DebounceRun[list[str]]) -> None: ...


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(HOUR)
    start_immediately = False

    async def execute(self, run: ContinuousRun[int]) -> None: ...


class Moody(TaskJob[str, int, str]):
    """Fails on every event until it is told how to do better."""

    name = "moody"
    retry = QUICK

    def __init__(self) -> None:
        self.mood: Callable[[], Awaitable[str]] = self.fail

    async def fail(self) -> str:
        raise ValueError("not in the mood")

    async def on_event(self, run: TaskRun[int], event: str) -> str:
        return await self.mood()

    async def execute(self, run: TaskRun[int]) -> None: ...


# -- no worker ------------------------------------------------------------------------------


@pytest.fixture
async def complaints() -> AsyncIterator[list[str]]:
    """What the running loop has to complain of, such as exceptions that nobody retrieved."""
    found: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context["message"]))
    yield found
    loop.set_exception_handler(None)


CALLS: dict[str, Callable[[JobClient, str], Awaitable[Any]]] = {
    "status": lambda jobs, key: jobs.continuous(Poll, key).status(timeout=BRIEF),
    "state": lambda jobs, key: jobs.continuous(Poll, key).state(timeout=BRIEF),
    "redrive": lambda jobs, key: jobs.task(Moody, key).redrive(timeout=BRIEF),
    "add_confirmed": lambda jobs, key: jobs.debounce(Words, key).add_confirmed("a", timeout=BRIEF),
    "ask": lambda jobs, key: jobs.task(Moody, key).ask("a", timeout=BRIEF),
}


@pytest.mark.parametrize("call", CALLS)
async def test_without_a_worker_a_call_ends_in_its_time_with_one_error(
    client: Client, queue: str, call: str, complaints: list[str]
) -> None:
    key = new_key()
    jobs = JobClient(client, task_queue=queue)
    await jobs.continuous(Poll, key).start()
    await jobs.debounce(Words, key).add("a")
    await jobs.task(Moody, key).send("a")
    began = time.monotonic()
    with pytest.raises(NoWorker, match=f"no worker answered within 1 s.*task queue '{queue}'"):
        await CALLS[call](jobs, key)
    assert time.monotonic() - began < 1.5
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    for handle in (jobs.continuous(Poll, key), jobs.debounce(Words, key), jobs.task(Moody, key)):
        await client.get_workflow_handle(handle.instance_id).terminate()


async def test_a_time_that_is_over_is_a_timeout_error_too() -> None:
    assert issubclass(NoWorker, TimeoutError)
    assert issubclass(NoReply, TimeoutError)


async def test_what_was_sent_without_a_worker_takes_effect_once_one_runs(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    words, poll = jobs.debounce(Words, new_key()), jobs.continuous(Poll, new_key())
    await words.add("a")
    with pytest.raises(NoWorker):
        await words.add_confirmed("b", timeout=BRIEF)
    await poll.start()
    assert await poll.pause("ada")
    with pytest.raises(NoWorker):
        await poll.status(timeout=BRIEF)
    async with running_worker(client, queue, Words(), Poll()):
        await eventually(lambda: _state_is(words, ["a", "b"]))
        assert (await until_status(poll, "paused")).pause_note == "ada"
        await words.terminate()
        await poll.terminate()


async def _state_is(handle: Any, state: Any) -> bool:
    return await handle.state() == state


async def test_a_call_of_a_run_to_an_instance_without_a_worker_does_not_hang(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_jobs.handles.base.ANSWER_TIME", BRIEF)
    poll = JobClient(client, task_queue=queue, once="a-run").continuous(Poll, new_key())
    await poll.start()
    with pytest.raises(NoWorker):
        await poll.trigger()
    await client.get_workflow_handle(poll.instance_id).terminate()


async def test_a_confirmed_add_that_is_cancelled_lets_its_loop_end(
    server: EmbeddedServer, queue: str
) -> None:
    async def add() -> None:
        jobs = JobClient(await Client.connect(server.target), task_queue=queue)
        words = jobs.debounce(Words, queue)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(words.add_confirmed("a", timeout=HOUR), 0.5)

    began = time.monotonic()
    await asyncio.to_thread(asyncio.run, add())
    assert time.monotonic() - began < 10


async def test_a_server_that_answers_no_more_is_told_from_a_missing_worker(queue: str) -> None:
    async with EmbeddedServer(ui=False) as own:
        jobs = JobClient(await Client.connect(own.target), task_queue=queue)
        await jobs.continuous(Poll, "k").start()
    for call in CALLS.values():
        began = time.monotonic()
        with pytest.raises(TemporalUnreachable, match=r"Temporal (does|did) not answer"):
            await call(jobs, "k")
        assert time.monotonic() - began < 2


async def test_a_namespace_that_is_missing_is_said(server: EmbeddedServer, queue: str) -> None:
    client = await Client.connect(server.target, namespace="nowhere")
    words = JobClient(client, task_queue=queue).debounce(Words, new_key())
    for call in (words.add("a"), words.status(), words.pause(), words.add_confirmed("a")):
        with pytest.raises(JobsError, match="has no namespace 'nowhere'"):
            await call


# -- an ask in vain -------------------------------------------------------------------------


async def test_an_ask_in_vain_says_how_its_event_fares(
    client: Client, queue: str, complaints: list[str]
) -> None:
    job = Moody()
    async with running_worker(client, queue, job) as jobs:
        moody = jobs.task(Moody, new_key())
        with pytest.raises(NoReply, match=r"no reply within 1 s: attempt \d+ .*: .*mood"):
            await moody.ask("a", timeout=BRIEF)
        await moody.terminate()
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"status": "retrying", "attempt": 5}, "attempt 4 failed: no; 3 events wait"),
        ({"status": "running", "attempt": 2}, "attempt 2 is under way; the last error: no; 3"),
        ({"status": "running", "attempt": 1, "lastError": None}, "attempt 1 is under way; 3 ev"),
        ({"status": "paused", "pauseNote": "ada"}, "the instance is paused (ada); the last error"),
        ({"status": "idle", "lastError": None, "eventCount": 1}, "the instance is idle; 1 event w"),
    ],
)
def test_how_an_event_fares_is_told_by_its_instance(status: dict[str, Any], text: str) -> None:
    assert how_it_fares({"lastError": "no", "eventCount": 3, **status}).startswith(text)


# -- another workflow under an instance's ID ------------------------------------------------


@workflow.defn(name="Foreign")
class Foreign:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def test_a_failed_workflow_under_an_instances_id_is_shown_as_failed(
    client: Client, queue: str, server: EmbeddedServer
) -> None:
    operate = Operator(server.target)
    async with running_worker(client, queue, Words(), Moody()) as jobs:
        words = jobs.debounce(Words, new_key())
        # The start argument names another key.
        start = {"job": "words", "key": "another"}
        await client.start_workflow("DebounceJob", start, id=words.instance_id, task_queue=queue)
        failed = await until_status(words, "failed")
        assert "key" in (failed.last_error or "")
        shown = await operate("status", words.instance_id)
        assert "failed" in shown
        assert "debouncing" not in shown
        # As a client without types does that takes a task for a debounce.
        moody = jobs.task(Moody, new_key())
        start = {"job": "moody", "key": moody.key}
        await client.start_workflow("DebounceJob", start, id=moody.instance_id, task_queue=queue)
        failed = await until_status(moody, "failed")
        assert "has the type 'DebounceJob', not 'TaskJob'" in (failed.last_error or "")
        shown = await operate("status", moody.instance_id)
        assert "has the type 'DebounceJob', not 'TaskJob' (failed" in shown


async def test_a_foreign_workflow_under_an_instances_id_is_shown_as_what_it_is(
    client: Client, queue: str, server: EmbeddedServer
) -> None:
    runner = UnsandboxedWorkflowRunner()
    jobs = JobClient(client, task_queue=queue)
    words = jobs.debounce(Words, new_key())
    raw = await client.start_workflow("Foreign", id=words.instance_id, task_queue=queue)
    text = "is no instance: the workflow under that ID has the type 'Foreign'"
    for call in (words.status(timeout=BRIEF), words.state(timeout=BRIEF)):
        with pytest.raises(JobsError, match=text):
            await call
    async with Worker(client, task_queue=queue, workflows=[Foreign], workflow_runner=runner):
        for call in (words.status(), words.state()):
            with pytest.raises(JobsError, match=text):
                await call
        operate = Operator(server.target)
        for verb in ("status", "state"):
            assert text in await operate(verb, words.instance_id, code=1)
        await raw.terminate()
        ended = await until_status(words, "terminated")
        assert text in (ended.last_error or "")


async def test_a_workflow_that_temporal_terminated_has_no_error_of_its_own(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Words()) as jobs:
        words = jobs.debounce(Words, new_key())
        await words.add("a")
        await until_status(words, "debouncing")
        await client.get_workflow_handle(words.instance_id).terminate("by hand")
        assert (await until_status(words, "terminated")).last_error is None


async def test_a_run_names_its_calls_one_by_one() -> None:
    once = Once("run-1")
    ids = [once.next_id("task:a:b", "pause") for _ in range(2)]
    assert ids == ["run-1:pause:task:a:b:1", "run-1:pause:task:a:b:2"]
