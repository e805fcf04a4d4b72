"""What `status` tells of an instance's last attempts, and where the last failure came from."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Every, Snooze, TaskJob, TaskRun
from durable_jobs.embedded import EmbeddedServer
from tests.support import eventually
from tests.support.jobs import QUICK, at_most, new_key, running_worker, status_of, until_status
from tests.support.operating import Operator

HOUR = timedelta(hours=1)


class Poll(ContinuousJob[int]):
    """Fails, puts itself off, and then takes for ever."""

    name = "attempts-poll"
    schedule = Every(HOUR)
    retry = QUICK

    def initial_state(self, key: str) -> int:
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        if run.attempt == 1:
            raise ConnectionError("the API is down")
        if run.attempt == 2 and run.state == 0:
            run.state = 1
            await run.checkpoint()
            raise Snooze(timedelta(milliseconds=10))
        await asyncio.Event().wait()


class Judge(TaskJob[str, int]):
    name = "attempts-judge"
    retry = at_most(1)

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        if event == "bad":
            raise ValueError("bad is no event")

    async def execute(self, run: TaskRun[int]) -> None: ...


@pytest.fixture
def operate(server: EmbeddedServer) -> Operator:
    return Operator(server.target)


async def attempts(operate: Operator, instance: str) -> list[dict[str, Any]]:
    return json.loads(await operate("status", instance, "--json"))["attempts"]


async def test_status_lists_the_last_attempts_with_their_errors_the_newest_first(
    client: Client, queue: str, operate: Operator
) -> None:
    async with running_worker(client, queue, Poll()) as jobs:
        poll = jobs.continuous(Poll, new_key())
        await poll.start()

        async def under_way() -> bool:
            status = await status_of(poll)
            return (status.status, status.attempt) == ("running", 2)

        async def third() -> list[dict[str, Any]] | None:
            found = await attempts(operate, poll.instance_id)
            return found if len(found) == 3 and found[0]["beganAt"] else None

        await eventually(under_way)
        found = await eventually(third, every=0.2)
        assert [each["outcome"] for each in found] == ["under way", "put off", "failed"]
        assert found[2]["error"] == "ConnectionError: the API is down"
        assert "in execute" in found[2]["stack"]
        assert (found[2]["attempt"], found[1]["attempt"]) == (1, 2)
        shown = await operate("status", poll.instance_id)
        assert "execute, attempt 1, failed after" in shown
        assert 'raise ConnectionError("the API is down")' in shown
        assert found[2]["worker"] in shown
        await poll.terminate()
        await until_status(poll, "terminated")
        assert "execute, cut off after" in await operate("status", poll.instance_id)


async def test_the_failed_event_of_a_burst_is_an_attempt_with_its_stack(
    client: Client, queue: str, operate: Operator
) -> None:
    async with running_worker(client, queue, Judge()) as jobs:
        judge = jobs.task(Judge, new_key())
        await asyncio.gather(*(judge.send(event) for event in ("good", "good", "bad")))

        async def failed() -> list[dict[str, Any]] | None:
            found = await attempts(operate, judge.instance_id)
            return found if found and found[0]["outcome"] == "failed" else None

        [first] = (await eventually(failed, every=0.2))[:1]
        assert first["error"] == "ValueError: bad is no event"
        assert "in on_event" in first["stack"]
        await judge.terminate()
