"""Asking a task: an event whose handler's reply the caller waits for."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from pydantic import BaseModel, ConfigDict
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from durable_jobs import InvalidEvent, InvalidState, JobClient, JobFailed, TaskJob, TaskRun
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles import TaskHandle
from tests.support import eventually
from tests.support.jobs import new_key, result_of, running_worker, status_of
from tests.task.jobs import Oracle, Question

SHORT = timedelta(milliseconds=200)


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


async def test_what_a_handler_without_a_reply_type_returns_is_dropped_with_a_warning(
    client: Client, queue: str, caplog: pytest.LogCaptureFixture
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
        assert "silent: on_event returned object, nobody gets it: a reply needs" in caplog.text
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


async def test_threads_with_an_event_loop_each_ask_at_once(
    server: EmbeddedServer, client: Client, queue: str
) -> None:
    key = new_key()

    async def ask_six_times(first: int) -> list[str]:
        oracle = JobClient(await Client.connect(server.target), queue).task(Oracle, key)
        numbers = range(first, first + 6)
        return await asyncio.gather(*(oracle.ask(Question(number=n)) for n in numbers))

    async with running_worker(client, queue, Oracle()) as jobs:
        threads = (asyncio.to_thread(asyncio.run, ask_six_times(n)) for n in (0, 6, 12))
        replies = await asyncio.gather(*threads)
        assert sorted(chain.from_iterable(replies)) == sorted(f"reply {n}" for n in range(18))
        await jobs.task(Oracle, key).terminate()


async def test_an_ask_waits_behind_the_events_before_it(client: Client, queue: str) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        for number in range(5):
            await oracle.send(Question(number=number))
        await oracle.ask(Question(number=5))
        assert job.asked == [0, 1, 2, 3, 4, 5]
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


async def test_an_update_refused_by_the_handlers_activity_leaves_no_trace_and_may_be_put_right(
    client: Client, queue: str
) -> None:
    job = Oracle()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        await oracle.ask(Question(number=1))
        raw = client.get_workflow_handle(oracle.instance_id)
        for _ in range(2):
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await raw.execute_update("ask", {"number": "secret"}, id="question-2")
            assert isinstance(refused.value.cause, ApplicationError)
            assert refused.value.cause.type == "InvalidEvent"
        status = await status_of(oracle)
        assert (status.run_count, status.event_count, status.rejected_events) == (1, 0, 0)
        assert await oracle.ask(Question(number=3), id="question-3") == "reply 3"
        assert await oracle.ask(Question(number=2), id="question-2b") == "reply 2"
        assert (await status_of(oracle)).run_count == 3
        assert job.asked == [1, 3, 2]
        await oracle.terminate()


async def test_an_update_that_does_not_fit_is_refused_once_the_events_before_it_are_handled(
    client: Client, queue: str
) -> None:
    job = Oracle()
    job.open.clear()
    async with running_worker(client, queue, job) as jobs:
        oracle = jobs.task(Oracle, new_key())
        asking = asyncio.create_task(oracle.ask(Question(number=1)))
        await eventually(lambda: job.asked)
        raw = client.get_workflow_handle(oracle.instance_id)
        wrong = asyncio.create_task(raw.execute_update("ask", {"number": "secret"}))
        await eventually(lambda: _waiting(oracle, 2))
        job.open.set()
        assert await asking == "reply 1"
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await wrong
        assert "number" in str(refused.value.cause)
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


async def test_a_reply_that_does_not_fit_the_callers_class_is_said_without_the_reply(
    client: Client, queue: str
) -> None:
    class Elsewhere(TaskJob[Question, int, int]):
        name = "oracle"

    async with running_worker(client, queue, Oracle()) as jobs:
        oracle = jobs.task(Elsewhere, new_key())
        with pytest.raises(InvalidState, match="oracle: the reply does not fit") as refused:
            await oracle.ask(Question(number=1))
        assert "reply 1" not in str(refused.value)
        await oracle.terminate()


async def _waiting(oracle: TaskHandle[Question, int, str], count: int) -> bool:
    return (await status_of(oracle)).event_count == count
