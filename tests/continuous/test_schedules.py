"""When a schedule is due, and which schedules are refused."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Cron, DefinitionError, Every, JobsPlugin
from durable_jobs.cron import next_cron_time
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, status_of, until_status

BERLIN = ZoneInfo("Europe/Berlin")


def _job(schedule: Any) -> ContinuousJob[int]:
    class Scheduled(ContinuousJob[int]):
        name = "scheduled"

        async def execute(self, run: ContinuousRun[int]) -> None:
            pass

    Scheduled.schedule = schedule
    return Scheduled()


@pytest.mark.parametrize(
    ("line", "after", "due"),
    [
        ("*/15 * * * *", "2026-03-01T10:07:30", "2026-03-01T10:15:00"),
        ("0 9 * * mon-fri", "2026-03-06T09:00:00", "2026-03-09T09:00:00"),
        ("0 9 * * *", "2026-03-01T08:59:59", "2026-03-01T09:00:00"),
        ("@daily", "2026-03-01T00:00:00", "2026-03-02T00:00:00"),
        ("@hourly", "2026-03-01T00:30:00", "2026-03-01T01:00:00"),
        ("*/10 * * * * *", "2026-03-01T00:00:01", "2026-03-01T00:00:10"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_a_cron_line_is_due_after_a_moment(line: str, after: str, due: str) -> None:
    found = next_cron_time(Cron(line).rule(), datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_cron_line_follows_the_clocks_of_its_time_zone() -> None:
    rule = Cron("30 9 * * *", timezone="Europe/Berlin").rule()
    winter = next_cron_time(rule, datetime(2026, 3, 28, 12, tzinfo=UTC) - timedelta(days=1))
    summer = next_cron_time(rule, winter)
    assert winter == datetime(2026, 3, 28, 9, 30, tzinfo=BERLIN)
    assert summer == datetime(2026, 3, 29, 9, 30, tzinfo=BERLIN)
    assert summer - winter == timedelta(hours=23)


def test_a_time_that_a_change_of_clock_leaves_out_runs_after_it() -> None:
    rule = Cron("30 2 * * *", timezone="Europe/Berlin").rule()
    due = next_cron_time(rule, datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert due == datetime(2026, 3, 29, 3, 0, tzinfo=BERLIN)


def test_a_time_that_comes_twice_runs_once() -> None:
    rule = Cron("30 2 * * *", timezone="Europe/Berlin").rule()
    first = next_cron_time(rule, datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert f"{first.astimezone(BERLIN):%d %H:%M}" == "25 02:30"
    assert next_cron_time(rule, first) == datetime(2026, 10, 26, 2, 30, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Cron("every day"), "bad cron line 'every day'"),
        (Cron("0 25 * * *"), "bad cron line .*: Bad hour"),
        (Cron(""), "bad cron line"),
        (Cron("0 0 * *"), "bad cron line"),
        (Cron("0 0 31 2 *"), "never due|Bad day"),
        (Cron("0 9 * * *", timezone="Europe/Atlantis"), "unknown time zone 'Europe/Atlantis'"),
        (Cron("0 9 * * *", timezone=""), "unknown time zone"),
        (Cron("0 9 * * *", timezone="../../etc/passwd"), "unknown time zone"),
        (Cron("@reboot"), "set start_immediately = True"),
        (Cron("@every 5m"), "use Every"),
        (Cron("@fortnightly"), "the names are @yearly"),
        (Cron("0 9 * * *", timezone="MEZ"), "give an IANA name such as 'Europe/Berlin'"),
        (Cron("0 0 * * 5L/2"), "bad cron line"),
        (Cron("0 9 * * *", jitter=timedelta(seconds=-1)), "jitter"),
        (Cron("0 9 * * *", jitter=timedelta.max), "jitter"),
        (Every(timedelta.max), "interval"),
        (Every(timedelta()), "interval"),
        (Every(timedelta(seconds=-5)), "interval"),
        (Every(timedelta(seconds=1), jitter=timedelta(seconds=2)), "jitter"),
        (timedelta(seconds=1), "an Every or a Cron"),
        ("0 9 * * *", "an Every or a Cron"),
    ],
    ids=repr,
)
def test_a_wrong_schedule_is_refused_when_the_job_is_registered(
    schedule: Any, message: str
) -> None:
    with pytest.raises(DefinitionError, match=message) as refused:
        JobsPlugin([_job(schedule)])
    assert re.match(r".*Scheduled: ", str(refused.value))


def test_a_job_without_a_schedule_is_refused() -> None:
    class Unscheduled(ContinuousJob[int]):
        name = "unscheduled"

        async def execute(self, run: ContinuousRun[int]) -> None:
            pass

    with pytest.raises(DefinitionError, match="schedule"):
        JobsPlugin([Unscheduled()])


def test_keys_given_as_one_string_are_refused() -> None:
    class OneKey(ContinuousJob[int]):
        name = "one-key"
        schedule = Every(timedelta(hours=1))
        keys = "default"  # type: ignore[assignment]

        async def execute(self, run: ContinuousRun[int]) -> None:
            pass

    with pytest.raises(DefinitionError, match="keys"):
        JobsPlugin([OneKey()])


def test_a_job_with_no_way_to_a_first_state_is_refused() -> None:
    class Nowhere(ContinuousJob[datetime]):
        name = "nowhere"
        schedule = Every(timedelta(hours=1))

        async def execute(self, run: ContinuousRun[datetime]) -> None:
            pass

    with pytest.raises(DefinitionError, match="initial_state"):
        JobsPlugin([Nowhere()])


class Yearly(ContinuousJob[int]):
    """Runs at nine o'clock of a new year, in Berlin."""

    name = "yearly"
    schedule = Cron("0 9 1 1 *", timezone="Europe/Berlin")

    def __init__(self) -> None:
        self.runs: list[ContinuousRun[int]] = []

    async def execute(self, run: ContinuousRun[int]) -> None:
        self.runs.append(run)


async def test_a_cron_instance_waits_for_its_first_due_time(client: Client, queue: str) -> None:
    job = Yearly()
    async with running_worker(client, queue, job) as jobs:
        yearly = jobs.continuous(Yearly, new_key())
        before = datetime.now(BERLIN)
        await yearly.start()
        status = await eventually(lambda: _planned(yearly))
        new_year = datetime(before.year + 1, 1, 1, 9, tzinfo=BERLIN)
        assert (status.status, status.next_run_at) == ("scheduled", new_year)
        await yearly.trigger()
        await eventually(lambda: job.runs)
        status = await until_status(yearly, "scheduled")
        assert (len(job.runs), status.next_run_at) == (1, new_year)
        await yearly.terminate()


async def test_a_cron_job_can_begin_at_once(client: Client, queue: str) -> None:
    class AtOnce(Yearly):
        start_immediately = True

    job = AtOnce()
    async with running_worker(client, queue, job) as jobs:
        yearly = jobs.continuous(AtOnce, new_key())
        await yearly.start()
        [run] = await eventually(lambda: job.runs)
        assert run.due_at == (await status_of(yearly)).started_at
        await yearly.terminate()


async def test_a_cron_instance_runs_at_its_due_times(client: Client, queue: str) -> None:
    class EachSecond(Yearly):
        schedule = Cron("* * * * * *")

    job = EachSecond()
    async with running_worker(client, queue, job) as jobs:
        each = jobs.continuous(EachSecond, new_key())
        await each.start()
        await eventually(lambda: len(job.runs) == 2)
        started_at = (await status_of(each)).started_at
        await each.terminate()
    first, second = (run.due_at for run in job.runs)
    assert first == started_at.replace(microsecond=0) + timedelta(seconds=1)
    assert second == first + timedelta(seconds=1)


async def _planned(handle: Any) -> Any:
    status = await status_of(handle)
    return status if status.next_run_at is not None else None
