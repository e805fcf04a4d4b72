"""The longest spans that options and `RetryAfter` take, on a server: instances go on answering."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Every, Retry, RetryAfter, TaskJob, TaskRun
from tests.support.jobs import new_key, running_worker, until_status

TEN_YEARS = timedelta(days=3653)


class Longest(TaskJob[int, int]):
    name = "longest"
    timeout = heartbeat_timeout = idle_timeout = TEN_YEARS
    retry = Retry(initial=TEN_YEARS, maximum=TEN_YEARS, max_duration=TEN_YEARS)

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: int) -> None:
        run.state += event

    async def execute(self, run: TaskRun[int]) -> None:
        """No alarm is set."""


class Waits(ContinuousJob[int]):
    name = "waits"
    schedule = Every(TEN_YEARS, jitter=TEN_YEARS)
    retry = Retry(max_attempts=2)

    def __init__(self, when: timedelta | datetime) -> None:
        self._when = when

    async def execute(self, run: ContinuousRun[int]) -> None:
        raise RetryAfter(self._when, "much later")


async def test_a_job_with_options_of_ten_years_runs(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Longest()) as jobs:
        longest = jobs.task(Longest, new_key())
        await longest.ask(5)
        assert await longest.state() == 5
        await longest.terminate()


@pytest.mark.parametrize("when", [timedelta.max, datetime.max.replace(tzinfo=UTC)], ids=str)
async def test_a_wait_without_end_is_one_of_ten_years(
    client: Client, queue: str, when: timedelta | datetime
) -> None:
    async with running_worker(client, queue, Waits(when)) as jobs:
        waits = jobs.continuous(Waits, new_key())
        before = datetime.now(UTC)
        await waits.start()
        status = await until_status(waits, "retrying")
        assert status.last_error == "RetryAfter: much later"
        assert status.next_run_at is not None
        wait = status.next_run_at - before
        assert TEN_YEARS - timedelta(minutes=1) < wait < TEN_YEARS + timedelta(minutes=1)
        assert await waits.terminate()
