"""What a task does when there is nothing left to do."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import TaskRun
from tests.support import eventually
from tests.support.jobs import (
    new_key,
    result_of,
    running_worker,
    until_settled,
    until_status,
)
from tests.task.jobs import HOUR, Follow, Idling, nothing, soon


async def test_on_idle_runs_once_each_time_the_task_becomes_idle(
    client: Client, queue: str
) -> None:
    job = Idling(nothing)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("event")
        await eventually(lambda: job.idle == [2])
        await idling.pause()
        await idling.resume()
        await until_settled(idling)
        await idling.send("another event")
        await eventually(lambda: job.idle == [2, 4])
        await until_settled(idling)
        assert job.idle == [2, 4]
        await idling.terminate()


async def test_on_idle_waits_until_nothing_is_queued(client: Client, queue: str) -> None:
    job = Idling(nothing)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("0")
        await eventually(lambda: job.idle == [2])
        await idling.pause()
        for number in range(1, 5):
            await idling.send(str(number))
        await idling.resume()
        await eventually(lambda: len(job.idle) == 2)
        assert (len(job.events), job.idle) == (5, [2, 7])
        await idling.terminate()


async def test_on_idle_does_not_run_while_an_alarm_is_set(client: Client, queue: str) -> None:
    async def on_then_off(run: TaskRun[int]) -> None:
        if run.is_first_event:
            run.schedule(HOUR)
        else:
            run.cancel_schedule()

    job = Idling(on_then_off)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("on")
        await until_status(idling, "scheduled")
        assert not job.idle
        await idling.send("off")
        await eventually(lambda: job.idle == [3])
        await idling.terminate()


async def test_on_idle_can_end_the_instance(client: Client, queue: str) -> None:
    async def end(run: TaskRun[int]) -> None:
        run.terminate("nothing to do")

    job = Idling(nothing, on_idle=end)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("event")
        result: dict[str, Any] = await result_of(client, idling.instance_id)
        assert (result["status"], result["reason"]) == ("terminated", "nothing to do")


async def test_on_idle_can_set_the_alarm(client: Client, queue: str) -> None:
    async def first_time(run: TaskRun[int]) -> None:
        if run.execute_count == 0:
            run.schedule(timedelta())

    job = Idling(nothing, on_idle=first_time)
    async with running_worker(client, queue, job) as jobs:
        idling = jobs.task(Idling, new_key())
        await idling.send("event")
        await eventually(lambda: len(job.idle) == 2)
        assert len(job.alarms) == 1
        await idling.terminate()


@pytest.mark.parametrize("job", [Follow(nothing), Follow(soon)])
async def test_a_task_without_on_idle_just_waits(client: Client, queue: str, job: Follow) -> None:
    async with running_worker(client, queue, job) as jobs:
        follow = jobs.task(Follow, new_key())
        await follow.send("event")
        await until_settled(follow)
        await follow.terminate()
