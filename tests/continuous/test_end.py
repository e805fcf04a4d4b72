"""Instances with a planned end: after so many runs, or at a time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs import ContinuousRun, DefinitionError, Every, JobsPlugin
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import at_most, new_key, result_of, running_worker, status_of, until_status
from tests.support.skipping import HOUR, Noting, skip_to_the_end

SOON = timedelta(milliseconds=50)


class Thrice(Noting):
    schedule = Every(SOON)
    max_runs = 3


async def test_an_instance_completes_after_max_runs(client: Client, queue: str) -> None:
    sink, job = MemorySink(), Thrice()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        thrice = jobs.continuous(Thrice, new_key())
        await thrice.start()
        result = await result_of(client, thrice.instance_id)
        assert result == {
            "status": "completed",
            "reason": "max_runs reached after 3 runs",
            "runCount": 3,
            "discardedEvents": 0,
        }
        status = await status_of(thrice)
        assert (status.status, status.run_count, status.next_run_at) == ("completed", 3, None)
        assert await thrice.state() == len(job.runs) == 3
        assert not await thrice.trigger()
        await eventually(lambda: len(sink.events) == 5)
    types = [event["type"] for event in sink.events]
    assert types == ["job.started", *["job.executed"] * 3, "job.terminated"]
    assert sink.events[-1]["reason"] == result["reason"]
    assert [event["sequence"] for event in sink.events] == [1, 2, 3, 4, 5]


async def test_failed_runs_and_triggers_count_towards_max_runs(client: Client, queue: str) -> None:
    class Failing(Thrice):
        schedule = Every(HOUR)
        retry = at_most(2)

        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            raise ValueError("never works")

    job = Failing()
    async with running_worker(client, queue, job) as jobs:
        failing = jobs.continuous(Failing, new_key())
        await failing.start()
        for runs in (1, 2):
            await eventually(lambda n=runs: len(job.runs) == 2 * n)
            await until_status(failing, "scheduled")
            await failing.trigger()
        result = await result_of(client, failing.instance_id)
    assert (result["status"], result["runCount"], len(job.runs)) == ("completed", 3, 6)


async def test_a_run_that_terminates_ends_before_max_runs(client: Client, queue: str) -> None:
    class Told(Thrice):
        async def execute(self, run: ContinuousRun[int]) -> None:
            if run.run_count == 3:
                run.terminate("enough")

    async with running_worker(client, queue, Told()) as jobs:
        told = jobs.continuous(Told, new_key())
        await told.start()
        result = await result_of(client, told.instance_id)
    assert (result["status"], result["reason"]) == ("terminated", "enough")


async def test_no_tick_is_due_after_until(time_skipping: WorkflowEnvironment, queue: str) -> None:
    env = time_skipping
    end = await env.get_current_time() + 3.5 * HOUR

    class Ending(Noting):
        schedule = Every(HOUR)
        until = end

    sink, job = MemorySink(), Ending()
    async with running_worker(env.client, queue, job, tracking=Tracking(sink)) as jobs:
        ending = jobs.continuous(Ending, new_key())
        await ending.start()
        await env.sleep(3.2 * HOUR)
        # Nothing more is due, but until then it can be triggered.
        status = await until_status(ending, "scheduled")
        assert status.next_run_at is None
        await ending.trigger()
        await eventually(lambda: len(job.runs) == 5)
        result = await skip_to_the_end(env, ending)
        assert (await status_of(ending)).status == "completed"
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
    assert (result["status"], result["reason"][:5], result["runCount"]) == ("completed", "until", 5)
    assert job.hours()[:4] == [0, 1, 2, 3]
    assert datetime.fromisoformat(sink.events[-1]["timestamp"]) >= end - timedelta(seconds=1)


async def test_a_paused_instance_ends_at_until_as_well(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    env = time_skipping
    end = await env.get_current_time() + 5.5 * HOUR

    class Ending(Noting):
        schedule = Every(HOUR)
        until = end

    job = Ending()
    async with running_worker(env.client, queue, job) as jobs:
        ending = jobs.continuous(Ending, new_key())
        await ending.start()
        await eventually(lambda: job.runs)
        await ending.pause()
        result = await skip_to_the_end(env, ending)
    assert (result["status"], result["runCount"]) == ("completed", 1)


async def test_an_instance_started_after_until_makes_no_run(client: Client, queue: str) -> None:
    class Over(Noting):
        schedule = Every(HOUR)
        until = datetime(2020, 1, 1, tzinfo=UTC)

    job = Over()
    async with running_worker(client, queue, job) as jobs:
        over = jobs.continuous(Over, new_key())
        await over.start()
        assert (await result_of(client, over.instance_id))["status"] == "completed"
    assert not job.runs


async def test_an_instance_may_live_until_the_end_of_time(client: Client, queue: str) -> None:
    class Ageless(Noting):
        schedule = Every(timedelta(days=3653))
        until = datetime.max.replace(tzinfo=UTC)

    job = Ageless()
    async with running_worker(client, queue, job) as jobs:
        ageless = jobs.continuous(Ageless, new_key())
        await ageless.start()
        await eventually(lambda: job.runs)
        await ageless.pause()
        await until_status(ageless, "paused")
        await ageless.trigger()
        await eventually(lambda: len(job.runs) == 2)
        await ageless.terminate()
        await result_of(client, ageless.instance_id)


async def test_a_worker_starts_no_instance_again_that_came_to_its_end(
    client: Client, queue: str
) -> None:
    class Kept(Thrice):
        name = new_key()
        max_runs = 1
        keys = ("default",)

    first, second = Kept(), Kept()
    async with running_worker(client, queue, first):
        await eventually(lambda: first.runs)
        await result_of(client, f"continuous:{Kept.name}:default")
    async with running_worker(client, queue, second) as jobs:
        kept = jobs.continuous(Kept, "default")
        assert await kept.came_to_its_end()
        # Whoever asks for it still gets it.
        assert (await kept.start()).created
        await result_of(client, kept.instance_id)
    assert len(second.runs) == 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("catch_up", "every", "catch_up is skip, one or all"),
        ("max_runs", 0, "max_runs is a whole number from 1"),
        ("max_runs", True, "max_runs is a whole number from 1"),
        ("max_runs", 1.5, "max_runs is a whole number from 1"),
        ("until", datetime(2030, 1, 1), "until is a datetime with a time zone"),  # noqa: DTZ001
        ("until", timedelta(days=1), "until is a datetime with a time zone"),
        ("until", "2030-01-01", "until is a datetime with a time zone"),
        ("start_immediately", "yes", "start_immediately is True, False or None"),
    ],
)
def test_a_wrong_option_is_refused_when_the_job_is_registered(
    option: str, value: Any, message: str
) -> None:
    class Wrong(Noting):
        schedule = Every(HOUR)

    setattr(Wrong, option, value)
    with pytest.raises(DefinitionError, match=message):
        JobsPlugin([Wrong()])
