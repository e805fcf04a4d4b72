"""Asking a task: an event whose handler's reply the caller waits for."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel, ConfigDict
from temporalio.client import Client, WorkflowUpdateFailedError

from durable_jobs import InvalidEvent, JobFailed, TaskJob, TaskRun
from durable_jobs.workflows import instance
from tests.jobs import (
    at_most,
    let_pass,
    new_key,
    result_of,
    running_worker,
    status_of,
    until_settled,
)
from tests.support import eventually

SHORT = timedelta(milliseconds=200)


class Question(BaseModel):
    number: int = 0


class Oracle(TaskJob[Question, int, str]):
    """Replies with the number of the question, unless it is held back."""

    name = "oracle"
    heartbeat_timeout = timedelta(milliseconds=300)
    retry = at_most(2)

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    async def on_event(self, run: TaskRun[int], event: Question) -> str:
        self.asked.append(event.number)
        await self.open.wait()
        if event.number < 0:
            raise ValueError("a negative question")
        run.state += 1
        return f"reply {event.number}"

    async def execute(self, run: TaskRun[int]) -> None:
        pass


async def test_ask_gives_the_reply_of_its_event(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Oracle()) as jobs:
        oracle = jobs.task(Oracle, new_key())
        assert await oracle.ask(Question(number=1)) == "reply 1"
        assert await oracle.ask(Question(number=2)) == "reply 2"
        assert await oracle.state() == 2
        await oracle.terminate()


class Answer(BaseModel):
    model_config = ConfigDict(strict=True)

    at: datetime
    place: tuple[int, int]


async def test_a_reply_has_the_type_that_the_job_says(client: Client, queue: str) -> None:
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)

    class Guide(TaskJob[Question, int, Answer]):
        name = "guide"

        async def on_event(self, run: TaskRun[int], event: Question) -> Answer:
            return Answer(at=moment, place=(event.number, 2))

        async def execute(self, run: TaskRun[int]) -> None:
            pass

    async with running_worker(client, queue, Guide()) as jobs:
        guide = jobs.task(Guide, new_key())
        assert await guide.ask(Question(number=7)) == Answer(at=moment, place=(7, 2))
        await guide.terminate()


async def test_a_reply_of_another_type_fails_the_run_for_good(client: Client, queue: str) -> None:
    class Confused(Oracle):
        name = "confused"

        async def on_event(self, run: TaskRun[int], event: Question) -> str:
            self.asked.append(event.number)
            return {"secret": event.number}  # type: ignore[return-value]

    job = Confused()
    async with running_worker(client, queue, job) as jobs:
        confused = jobs.task(Confused, new_key())
        with pytest.raises(JobFailed, match="reply") as failed:
            await confused.ask(Question(number=5))
        assert "secret" not in str(failed.value)
        assert job.asked == [5]
        await confused.terminate()


async def test_what_a_handler_without_a_reply_type_returns_is_ignored(
    client: Client, queue: str
) -> None:
    class Silent(TaskJob[Question, int]):
        name = "silent"

        async def on_event(self, run: TaskRun[int], event: Question) -> None:
            return object()  # type: ignore[return-value]

        async def execute(self, run: TaskRun[int]) -> None:
            pass

    async with running_worker(client, queue, Silent()) as jobs:
        silent = jobs.task(Silent, new_key())
        assert await silent.ask(Question()) is None
        await silent.terminate()


async def test_20_asks_at_once_all_get_their_own_reply(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Oracle()) as jobs:
        oracle = jobs.task(Oracle, new_key())
        began = time.monotonic()
        replies = await asyncio.gather(*(oracle.ask(Question(number=n)) for n in range(20)))
        assert time.monotonic() - began < 10
        assert replies == [f"reply {n}" for n in range(20)]
        assert await oracle.state() == 20
        await oracle.terminate()


async def test_an_ask_waits_behind_the_events_before_it(client: Client, queue: str) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        for number in range(5):
            await oracle.send(Question(number=number))
        await oracle.ask(Question(number=5))
        assert job.asked == [0, 1, 2, 3, 4, 5]
        await oracle.terminate()


# -- time-outs ------------------------------------------------------------------------------


async def test_asking_again_with_the_same_id_joins_the_event_that_is_being_handled(
    client: Client, queue: str
) -> None:
    job = Oracle()
    job.open.clear()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        with pytest.raises(TimeoutError, match="no reply"):
            await oracle.ask(Question(number=3), id="question-3", timeout=SHORT)
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


# -- failures -------------------------------------------------------------------------------


async def test_an_ask_whose_handler_fails_for_good_raises_its_error(
    client: Client, queue: str
) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        with pytest.raises(JobFailed, match="a negative question") as failed:
            await oracle.ask(Question(number=-1))
        assert oracle.instance_id in str(failed.value)
        assert job.asked == [-1, -1]
        assert await oracle.ask(Question(number=1)) == "reply 1"
        await oracle.terminate()


async def test_an_ask_waits_through_the_retries_of_its_handler(client: Client, queue: str) -> None:
    class Moody(Oracle):
        name = "moody"

        async def on_event(self, run: TaskRun[int], event: Question) -> str:
            if not run.is_retry:
                raise ValueError("not in the mood")
            return await super().on_event(run, event)

    async with running_worker(client, queue, Moody()) as jobs:
        moody = jobs.task(Moody, new_key())
        assert await moody.ask(Question(number=1)) == "reply 1"
        await moody.terminate()


@pytest.mark.parametrize("on_exhausted", ["continue", "terminate"])
async def test_an_ask_hears_of_the_failure_whatever_follows_it(
    client: Client, queue: str, on_exhausted: str
) -> None:
    class Ending(Oracle):
        name = f"ending-{on_exhausted}"

    Ending.on_exhausted = on_exhausted  # type: ignore[assignment]
    async with running_worker(client, queue, Ending()) as jobs:
        ending = jobs.task(Ending, new_key())
        with pytest.raises(JobFailed, match="a negative question"):
            await ending.ask(Question(number=-1))
        await ending.terminate()


async def test_an_ask_hears_that_its_instance_ended_first(client: Client, queue: str) -> None:
    job = Oracle()
    job.open.clear()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.send(Question(number=0))
        await eventually(lambda: job.asked)
        asking = asyncio.create_task(oracle.ask(Question(number=1)))
        await eventually(lambda: _waiting(oracle, 2))
        await oracle.terminate("closed")
        with pytest.raises(JobFailed, match="ended"):
            await asking
        result = await result_of(client, oracle.instance_id)
        assert (result["status"], result["discardedEvents"]) == ("terminated", 2)


async def test_an_update_with_an_event_that_does_not_fit_is_refused_with_the_reason(
    client: Client, queue: str
) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.ask(Question(number=1))
        raw = client.get_workflow_handle(oracle.instance_id)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await raw.execute_update("ask", {"number": "secret"})
        assert "number" in str(refused.value.cause)
        assert "secret" not in str(refused.value.cause)
        assert (job.asked, (await status_of(oracle)).status) == ([1], "idle")
        await oracle.terminate()


class Stricter(BaseModel):
    number: str


async def test_an_ask_from_a_client_with_another_event_type_is_refused(
    client: Client, queue: str
) -> None:
    class Elsewhere(TaskJob[Stricter, int, str]):
        name = "oracle"

    async with running_worker(client, queue, Oracle()) as jobs:
        oracle = jobs.task(Elsewhere, new_key())
        with pytest.raises(InvalidEvent, match="number"):
            await oracle.ask(Stricter(number="one"))
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
    monkeypatch.setattr(instance, "MAX_HISTORY_EVENTS", 30)
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.send(Question(number=0))
        first = (await client.get_workflow_handle(oracle.instance_id).describe()).run_id
        replies = await asyncio.gather(*(oracle.ask(Question(number=n)) for n in range(1, 41)))
        assert replies == [f"reply {n}" for n in range(1, 41)]
        assert (await client.get_workflow_handle(oracle.instance_id).describe()).run_id != first
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
        first = (await client.get_workflow_handle(oracle.instance_id).describe()).run_id
        monkeypatch.setattr(instance, "MAX_HISTORY_EVENTS", 5)
        await oracle.send(Question(number=2))
        await eventually(lambda: _other_run(client, oracle.instance_id, first))
        monkeypatch.undo()
        assert await oracle.ask(Question(number=1), id="question-1") == "reply 1"
        assert job.asked == [1, 2]
        await oracle.terminate()


async def _waiting(oracle, count: int) -> bool:
    return (await status_of(oracle)).event_count == count


async def _other_run(client: Client, instance_id: str, first: str | None) -> bool:
    return (await client.get_workflow_handle(instance_id).describe()).run_id != first
