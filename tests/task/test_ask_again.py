"""Asking a task again: what happens to a question whose caller did not get its reply."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client

from durable_jobs import JobFailed
from durable_jobs.handles import TaskHandle
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import (
    let_pass,
    new_key,
    run_id_of,
    running_worker,
    status_of,
    until_settled,
    went_on,
)
from tests.task.jobs import Oracle, Question

SHORT = timedelta(milliseconds=200)
LONG_ENOUGH = timedelta(seconds=2)
"""For a worker to take an event up, on a busy machine too."""


async def test_asking_again_with_the_same_id_joins_the_event_that_is_being_handled(
    client: Client, queue: str
) -> None:
    job = Oracle()
    job.open.clear()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        with pytest.raises(TimeoutError, match="no reply"):
            await oracle.ask(Question(number=3), id="question-3", timeout=LONG_ENOUGH)
        again = asyncio.create_task(oracle.ask(Question(number=3), id="question-3"))
        await eventually(lambda: job.asked == [3])
        await let_pass(SHORT)
        job.open.set()
        assert await again == "reply 3"
        assert (job.asked, await oracle.state()) == ([3], 1)
        await oracle.terminate()


async def test_asking_again_after_the_event_was_handled_gives_its_reply(
    client: Client, queue: str
) -> None:
    job = Oracle()
    job.open.clear()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        asking = asyncio.create_task(oracle.ask(Question(number=3), id="question-3"))
        await eventually(lambda: job.asked)
        asking.cancel()
        job.open.set()
        await until_settled(oracle)
        assert await oracle.ask(Question(number=3), id="question-3") == "reply 3"
        assert await oracle.ask(Question(number=3), id="question-3") == "reply 3"
        assert job.asked == [3]
        await oracle.terminate()


async def test_two_callers_with_one_id_share_one_event(client: Client, queue: str) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        replies = await asyncio.gather(
            *(oracle.ask(Question(number=9), id="question-9") for _ in range(3))
        )
        assert (replies, job.asked) == (["reply 9"] * 3, [9])
        await oracle.terminate()


async def test_asking_with_the_id_of_a_sent_event_gives_its_reply(
    client: Client, queue: str
) -> None:
    job = Oracle()
    job.open.clear()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.send(Question(number=0))
        await oracle.send(Question(number=1), id="question-1")
        asking = asyncio.create_task(oracle.ask(Question(number=1), id="question-1"))
        await let_pass(SHORT)
        job.open.set()
        assert await asking == "reply 1"
        assert job.asked == [0, 1]
        await oracle.terminate()


async def test_asking_with_the_id_of_an_event_handled_before_says_so_at_once(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Oracle()) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.send(Question(number=1), id="question-1")
        await until_settled(oracle)
        with pytest.raises(JobFailed, match="handled before"):
            await oracle.ask(Question(number=1), id="question-1")
        await oracle.terminate()


async def test_a_cancelled_ask_is_cancelled_and_no_time_out(client: Client, queue: str) -> None:
    job = Oracle()
    job.open.clear()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        asking = asyncio.create_task(oracle.ask(Question(number=1)))
        await eventually(lambda: job.asked)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        job.open.set()
        await until_settled(oracle)
        await oracle.terminate()


# -- pause and continue-as-new --------------------------------------------------------------


async def test_an_ask_of_a_paused_instance_is_answered_after_resume(
    client: Client, queue: str
) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.ask(Question(number=0))
        await oracle.pause()
        asking = [asyncio.create_task(oracle.ask(Question(number=n))) for n in range(1, 4)]
        await eventually(lambda: _waiting(oracle, 3))
        await let_pass(SHORT)
        assert (await status_of(oracle)).event_count == 3
        assert not any(task.done() for task in asking)
        # Also as an update, which the waiting ones must not keep out.
        raw = client.get_workflow_handle(oracle.instance_id)
        await raw.execute_update("resume")
        assert await asyncio.gather(*asking) == ["reply 1", "reply 2", "reply 3"]
        assert sorted(job.asked) == [0, 1, 2, 3]
        await oracle.terminate()


async def test_asks_are_answered_across_continue_as_new(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 30)
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.send(Question(number=0))
        first = await run_id_of(client, oracle.instance_id)
        replies = await asyncio.gather(*(oracle.ask(Question(number=n)) for n in range(1, 41)))
        assert replies == [f"reply {n}" for n in range(1, 41)]
        assert await run_id_of(client, oracle.instance_id) != first
        assert sorted(job.asked) == list(range(41))
        assert await oracle.state() == 41
        await oracle.terminate()


async def test_asking_again_across_continue_as_new_gives_the_kept_reply(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        assert await oracle.ask(Question(number=1), id="question-1") == "reply 1"
        first = await run_id_of(client, oracle.instance_id)
        monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 5)
        await oracle.send(Question(number=2))
        await eventually(lambda: went_on(client, oracle.instance_id, first))
        monkeypatch.undo()
        assert await oracle.ask(Question(number=1), id="question-1") == "reply 1"
        await eventually(lambda: len(job.asked) > 1)
        assert job.asked == [1, 2]
        await oracle.terminate()


async def _waiting(oracle: TaskHandle[Question, int, str], count: int) -> bool:
    return (await status_of(oracle)).event_count == count
