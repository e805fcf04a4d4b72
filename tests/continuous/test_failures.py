"""What a failing run of a continuous instance does to its schedule, its state and its life."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from durable_jobs import ContinuousJob, ContinuousRun, Every, NonRetryable, Retry, RetryAfter
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import (
    QUICK,
    at_most,
    new_key,
    result_of,
    running_worker,
    status_of,
    until_run,
    until_status,
)

SOON = timedelta(milliseconds=100)
NEVER = timedelta(hours=1)


class Flaky(ContinuousJob[int]):
    """Fails in its first attempts, as many as it is told; notes all attempts."""

    name = "flaky"
    schedule = Every(NEVER)
    retry = QUICK

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.attempts: list[ContinuousRun[int]] = []

    async def execute(self, run: ContinuousRun[int]) -> None:
        self.attempts.append(run)
        run.state += 1
        if len(self.attempts) <= self.failures:
            raise ValueError(f"attempt {run.attempt} failed")


async def test_a_failed_attempt_is_tried_again_as_the_same_run(client: Client, queue: str) -> None:
    job = Flaky(failures=2)
    async with running_worker(client, queue, job) as jobs:
        flaky = jobs.continuous(Flaky, new_key())
        await flaky.start()
        await until_run(flaky, 1)
        assert [(run.attempt, run.is_retry) for run in job.attempts] == [
            (1, False),
            (2, True),
            (3, True),
        ]
        assert len({run.idempotency_key for run in job.attempts}) == 1
        assert len({run.due_at for run in job.attempts}) == 1
        assert {run.run_count for run in job.attempts} == {1}
        await flaky.terminate()


async def test_failed_attempts_drop_what_they_did_to_the_state(client: Client, queue: str) -> None:
    seen: list[list[str]] = []

    class Appending(ContinuousJob[list[str]]):
        name = "appending"
        schedule = Every(NEVER)
        retry = QUICK

        async def execute(self, run: ContinuousRun[list[str]]) -> None:
            seen.append(list(run.state))
            run.state.append(f"attempt {run.attempt}")
            if run.attempt < 3:
                run.terminate("never")
                raise ValueError("not yet")

    async with running_worker(client, queue, Appending()) as jobs:
        appending = jobs.continuous(Appending, new_key())
        await appending.start(["start"])
        status = await until_run(appending, 1)
        assert seen == [["start"]] * 3
        assert await appending.state() == ["start", "attempt 3"]
        assert status.status == "scheduled"
        await appending.terminate()


async def test_a_run_between_attempts_is_retrying_and_says_why(client: Client, queue: str) -> None:
    class Patient(Flaky):
        retry = Retry(initial=timedelta(seconds=30), jitter=False)

    job = Patient(failures=1)
    async with running_worker(client, queue, job) as jobs:
        flaky = jobs.continuous(Patient, new_key())
        before = datetime.now(UTC)
        await flaky.start()
        status = await until_status(flaky, "retrying")
        assert status.last_error == "ValueError: attempt 1 failed"
        assert (status.run_count, status.attempt) == (1, 2)
        assert status.next_run_at is not None
        wait = timedelta(seconds=30)
        assert before + wait <= status.next_run_at <= datetime.now(UTC) + wait
        await flaky.terminate("enough")
        assert (await result_of(client, flaky.instance_id))["reason"] == "enough"


async def test_a_success_clears_the_last_error(client: Client, queue: str) -> None:
    job = Flaky(failures=1)
    async with running_worker(client, queue, job) as jobs:
        flaky = jobs.continuous(Flaky, new_key())
        await flaky.start()
        assert (await until_run(flaky, 1)).last_error is None
        await flaky.terminate()


async def test_a_run_is_tried_again_until_the_next_one_is_due(client: Client, queue: str) -> None:
    sink = MemorySink()

    class Failing(Flaky):
        schedule = Every(SOON * 3)

    job = Failing(failures=10_000)
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        flaky = jobs.continuous(Failing, new_key())
        await flaky.start()
        await eventually(lambda: len({run.run_count for run in job.attempts}) >= 3)
        await flaky.terminate()
        await result_of(client, flaky.instance_id)
        await eventually(lambda: _of_type(sink, "job.terminated"))
    first, second = ([r for r in job.attempts if r.run_count == n] for n in (1, 2))
    assert [run.attempt for run in first] == list(range(1, len(first) + 1))
    assert len(first) > 1
    assert second[0].due_at == first[0].due_at + SOON * 3
    assert second[0].idempotency_key != first[0].idempotency_key
    exhausted = _of_type(sink, "job.retryExhausted")[0]
    assert (exhausted["reason"], exhausted["attempts"]) == ("max_duration", len(first))
    retries = [e["willRetry"] for e in _of_type(sink, "job.failed") if e["runCount"] == 1]
    assert retries == [True] * (len(first) - 1) + [False]


async def test_continue_goes_on_with_the_next_tick_and_the_state_before(
    client: Client, queue: str
) -> None:
    states: list[int] = []

    class Every2nd(ContinuousJob[int]):
        name = "every-2nd"
        schedule = Every(SOON)
        retry = at_most(2)

        async def execute(self, run: ContinuousRun[int]) -> None:
            states.append(run.state)
            run.state += 1
            if run.run_count % 2:
                raise ValueError("an odd run")

    async with running_worker(client, queue, Every2nd()) as jobs:
        job = jobs.continuous(Every2nd, new_key())
        await job.start()
        await until_run(job, 6)
        await job.terminate()
    assert states[:7] == [0, 0, 0, 1, 1, 1, 2]


async def test_max_attempts_limits_the_attempts_of_a_run(client: Client, queue: str) -> None:
    sink = MemorySink()

    class Thrice(Flaky):
        retry = at_most(3)

    job = Thrice(failures=3)
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        flaky = jobs.continuous(Thrice, new_key())
        await flaky.start()
        status = await until_run(flaky, 1)
        assert len(job.attempts) == 3
        assert (status.last_error, status.run_count) == ("ValueError: attempt 3 failed", 1)
        [exhausted] = await eventually(lambda: _of_type(sink, "job.retryExhausted"))
        assert (exhausted["attempts"], exhausted["reason"]) == (3, "max_attempts")
        await flaky.trigger()
        await until_run(flaky, 2)
        assert await flaky.state() == 1
        await flaky.terminate()


async def test_pause_holds_the_instance_after_its_last_attempt_until_resume(
    client: Client, queue: str
) -> None:
    class Pausing(Flaky):
        schedule = Every(SOON)
        retry = at_most(2)
        on_exhausted = "pause"

    job = Pausing(failures=2)
    async with running_worker(client, queue, job) as jobs:
        flaky = jobs.continuous(Pausing, new_key())
        await flaky.start()
        status = await until_status(flaky, "paused")
        assert (status.run_count, status.last_error) == (1, "ValueError: attempt 2 failed")
        assert len(job.attempts) == 2
        await flaky.resume()
        await until_run(flaky, 2)
        await flaky.terminate()


async def test_terminate_fails_the_workflow_with_the_handlers_error(
    client: Client, queue: str
) -> None:
    class Ending(Flaky):
        retry = at_most(2)
        on_exhausted = "terminate"

    async with running_worker(client, queue, Ending(failures=2)) as jobs:
        flaky = jobs.continuous(Ending, new_key())
        await flaky.start()
        with pytest.raises(WorkflowFailureError) as failed:
            await result_of(client, flaky.instance_id)
        assert isinstance(error := failed.value.cause, ApplicationError)
        assert error.message == "Retry exhausted after 2 attempts"
        assert isinstance(cause := error.cause, ApplicationError)
        assert (cause.type, cause.message) == ("ValueError", "attempt 2 failed")
        status = await status_of(flaky)
        assert (status.status, status.last_error) == ("failed", "ValueError: attempt 2 failed")
        assert await flaky.state() == 0
        description = await client.get_workflow_handle(flaky.instance_id).describe()
        assert description.status is WorkflowExecutionStatus.FAILED


async def test_an_attempt_that_takes_too_long_fails_with_its_limit(
    client: Client, queue: str
) -> None:
    sink = MemorySink()
    ended = asyncio.Event()

    class Slow(Flaky):
        timeout = SOON
        retry = at_most(2)

        async def execute(self, run: ContinuousRun[int]) -> None:
            self.attempts.append(run)
            run.state = 99
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    job = Slow()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        flaky = jobs.continuous(Slow, new_key())
        await flaky.start()
        status = await until_run(flaky, 1)
        assert status.last_error is not None
        assert "longer than its timeout of 0:00:00.1" in status.last_error
        assert ended.is_set()
        assert (len(job.attempts), await flaky.state()) == (2, 0)
        await flaky.terminate()
        await eventually(lambda: _of_type(sink, "job.terminated"))
    failed = _of_type(sink, "job.failed")
    assert [(e["attempt"], e["willRetry"]) for e in failed] == [(1, True), (2, False)]
    assert all("timeout" in e["error"]["message"] for e in failed)


class Refused(Exception):
    """What the retry rule below does not try again."""


class SharplyRefused(Refused):
    """A subclass of it."""


@pytest.mark.parametrize(
    "error",
    [
        NonRetryable("no"),
        SharplyRefused("no"),
        ApplicationError("no", non_retryable=True),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_that_no_retry_can_help_fails_the_run_at_once(
    client: Client, queue: str, error: Exception
) -> None:
    sink = MemorySink()

    class Hopeless(Flaky):
        retry = Retry(non_retryable=(Refused,))

        async def execute(self, run: ContinuousRun[int]) -> None:
            self.attempts.append(run)
            raise error

    job = Hopeless()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        flaky = jobs.continuous(Hopeless, new_key())
        await flaky.start()
        status = await until_run(flaky, 1)
        shown = f"{type(error).__name__}: no"
        assert (status.run_count, status.last_error, len(job.attempts)) == (1, shown, 1)
        await flaky.terminate()
        await eventually(lambda: _of_type(sink, "job.terminated"))
    [failed] = _of_type(sink, "job.failed")
    assert (failed["willRetry"], failed["error"]["message"]) == (False, shown)
    assert not _of_type(sink, "job.retryExhausted")


async def test_retry_after_says_how_long_to_wait(client: Client, queue: str) -> None:
    times: list[datetime] = []

    class Asking(Flaky):
        retry = Retry(initial=timedelta(seconds=30), jitter=False)

        async def execute(self, run: ContinuousRun[int]) -> None:
            times.append(datetime.now(UTC))
            if run.attempt == 1:
                raise RetryAfter(SOON, "rate limit")
            if run.attempt == 2:
                raise RetryAfter(datetime.now(UTC) + SOON * 2, "rate limit")

    async with running_worker(client, queue, Asking()) as jobs:
        flaky = jobs.continuous(Asking, new_key())
        await flaky.start()
        await until_run(flaky, 1)
        await flaky.terminate()
    first, second = (later - earlier for earlier, later in pairwise(times))
    # Without an own wait it would be the 30 s of the class.
    assert SOON <= first < timedelta(seconds=25)
    assert SOON * 1.9 <= second < timedelta(seconds=25)


async def test_a_trigger_that_fails_is_tried_again_until_the_next_tick(
    client: Client, queue: str
) -> None:
    class Failing(Flaky):
        schedule = Every(SOON * 4)
        start_immediately = False

    job = Failing(failures=10_000)
    async with running_worker(client, queue, job) as jobs:
        flaky = jobs.continuous(Failing, new_key())
        await flaky.start()
        await flaky.trigger()
        await eventually(lambda: job.attempts and job.attempts[-1].run_count == 2)
        status = await status_of(flaky)
        await flaky.terminate()
    assert (job.attempts[-1].due_at - status.started_at) % (SOON * 4) == timedelta()


async def test_a_trigger_of_a_long_paused_instance_has_its_retries(
    client: Client, queue: str
) -> None:
    class Failing(Flaky):
        schedule = Every(SOON * 4)

    job = Failing()
    async with running_worker(client, queue, job) as jobs:
        flaky = jobs.continuous(Failing, new_key())
        await flaky.start()
        await until_run(flaky, 1)
        await flaky.pause()
        before = (await until_status(flaky, "paused")).run_count
        await eventually(lambda: datetime.now(UTC) > job.attempts[-1].due_at + SOON * 5)
        job.failures = len(job.attempts) + 1
        await flaky.trigger()
        await until_run(flaky, before + 1)
        assert [run.attempt for run in job.attempts if run.run_count == before + 1] == [1, 2]
        await flaky.terminate()


def _of_type(sink: MemorySink, kind: str) -> list[dict[str, Any]]:
    return [event for event in sink.events if event["type"] == kind]
