"""One living instance with a schedule of its own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client, WorkflowHandle

from durable_jobs import Cron, DefinitionError, Every, JobClient
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import (
    JobStatus,
    new_key,
    run_id_of,
    running_worker,
    status_of,
    until_status,
)
from tests.support.skipping import HOUR, Noting
from tests.support.wrong_input import Raw, raw_bench, refusal

SOON = timedelta(milliseconds=100)
BERLIN = ZoneInfo("Europe/Berlin")


class Hourly(Noting):
    schedule = Every(HOUR)
    start_immediately = False


async def _planned(handle: Any) -> JobStatus:
    """The status of an instance that has planned its next tick."""

    async def planned() -> JobStatus | None:
        status = await status_of(handle)
        return status if status.next_run_at is not None else None

    return await eventually(planned)


async def test_a_living_instance_takes_another_schedule_and_its_own_again(
    client: Client, queue: str
) -> None:
    job = Hourly()
    async with running_worker(client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        before = await _planned(hourly)
        assert (before.schedule, before.rescheduled) == ({"every": 3600.0}, False)
        assert await hourly.reschedule(Every(SOON))
        await eventually(lambda: len(job.runs) >= 3)
        status = await status_of(hourly)
        assert (status.schedule, status.rescheduled) == ({"every": 0.1}, True)
        assert await hourly.reschedule(None)
        await eventually(lambda: _is_reset(hourly))
        after = await _planned(hourly)
        await hourly.terminate()
    # Due on the grid that begins at the start, as ever.
    assert all((run.due_at - before.started_at) % SOON == timedelta() for run in job.runs)
    assert after.next_run_at == before.started_at + HOUR


async def _is_reset(handle: Any) -> bool:
    status = await status_of(handle)
    return not status.rescheduled and status.next_run_at is not None


async def test_an_instance_takes_a_cron_line_with_its_zone(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Hourly()) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        await _planned(hourly)
        await hourly.reschedule(Cron("0 9 1 1 *", timezone="Europe/Berlin"))
        await eventually(lambda: _has_schedule(hourly, "cron"))
        status = await _planned(hourly)
        new_year = datetime(datetime.now(BERLIN).year + 1, 1, 1, 9, tzinfo=BERLIN)
        assert status.next_run_at == new_year
        assert status.schedule == {"cron": "0 9 1 1 *", "timezone": "Europe/Berlin"}
        await hourly.terminate()


async def _has_schedule(handle: Any, kind: str) -> bool:
    return kind in ((await status_of(handle)).schedule or {})


async def test_a_schedule_outlives_continue_as_new(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 25)
    job = Hourly()
    async with running_worker(client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        first = await run_id_of(client, hourly.instance_id)
        await hourly.reschedule(Every(SOON))
        await eventually(lambda: len(job.runs) >= 8)
        assert await run_id_of(client, hourly.instance_id) != first
        assert (await status_of(hourly)).rescheduled
        await hourly.terminate()


async def test_a_schedule_asked_for_while_an_instance_continues_as_new_is_not_lost(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 8)
    async with running_worker(client, queue, Hourly()) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        for minute in range(20):
            await hourly.reschedule(Cron(f"{minute} 9 1 1 *"))
        await eventually(lambda: _has_line(hourly, "19 9 1 1 *"))
        await hourly.terminate()


async def _has_line(handle: Any, line: str) -> bool:
    return ((await status_of(handle)).schedule or {}).get("cron") == line


async def test_a_schedule_given_while_paused_holds_after_the_pause(
    client: Client, queue: str
) -> None:
    job = Hourly()
    async with running_worker(client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        await hourly.pause()
        await hourly.reschedule(Every(SOON))
        await until_status(hourly, "paused")
        assert not job.runs
        await hourly.resume()
        await eventually(lambda: job.runs)
        await hourly.terminate()


async def test_a_wrong_schedule_is_refused_by_the_client(client: Client, queue: str) -> None:
    hourly = JobClient(client, task_queue=queue).continuous(Hourly, new_key())
    with pytest.raises(DefinitionError, match="bad cron line"):
        await hourly.reschedule(Cron("at nine"))
    with pytest.raises(DefinitionError, match="interval"):
        await hourly.reschedule(Every(timedelta()))
    assert not await hourly.reschedule(Every(HOUR))


WRONG: dict[str, Any] = {
    "a number": 5,
    "a string": "0 9 * * *",
    "a list": [{"every": 5}],
    "empty": {},
    "both": {"every": 5, "cron": "0 9 * * *"},
    "a name misspelt": {"evry": 5},
    "another field": {"every": 5, "unit": "minutes"},
    "no number": {"every": "5m"},
    "true": {"every": True},
    "zero": {"every": 0},
    "negative": {"every": -5},
    "too long": {"every": 1e12},
    "an interval with a zone": {"every": 5, "timezone": "UTC"},
    "jitter over the interval": {"every": 5, "jitter": 6},
    "jitter over the time between two ticks": {"cron": "*/5 * * * *", "jitter": 301},
    "over 10 years": {"every": 3653 * 86_400 + 1},
    "jitter over 10 years": {"cron": "@yearly", "jitter": 1e10},
    "jitter a string": {"cron": "0 9 * * *", "jitter": "1s"},
    "a line a number": {"cron": 9},
    "a zone a number": {"cron": "0 9 * * *", "timezone": 1},
    "a line too long": {"cron": "0 " * 1000},
    "a bad line": {"cron": "0 25 * * *"},
    "a line that is never due": {"cron": "0 0 31 2 *"},
    "@reboot": {"cron": "@reboot"},
    "an unknown zone": {"cron": "0 9 * * *", "timezone": "Europe/Atlantis"},
}


@pytest.fixture(scope="module")
async def raw(client: Client) -> AsyncIterator[Raw]:
    async with raw_bench(client) as bench:
        yield bench


async def planned(handle: WorkflowHandle[Any, Any]) -> dict[str, Any] | None:
    """The status of an instance that knows its schedule."""
    status = await handle.query("status")
    return status if status["nextRunAt"] else None


async def test_a_wrong_schedule_is_refused_and_counted_and_changes_nothing(raw: Raw) -> None:
    handle = await raw.started("continuous")
    before = await eventually(lambda: planned(handle))
    for number, wrong in enumerate(WRONG.values(), 1):
        assert await refusal(handle, "reschedule", wrong)
        await handle.signal("reschedule", wrong)
        assert (await raw.rejected(handle, number)).startswith("reschedule: ")
    await handle.signal("reschedule", args=[{"every": 5}, 1])
    await raw.rejected(handle, len(WRONG) + 1)
    after = await handle.query("status")
    for field in ("schedule", "rescheduled", "nextRunAt", "status"):
        assert after[field] == before[field]
    await raw.still_works(handle, "continuous")


async def test_any_client_reschedules_by_an_update(raw: Raw) -> None:
    handle = await raw.started("continuous")
    answer = await handle.execute_update("reschedule", {"every": 60, "jitter": 5})
    assert answer["schedule"] == {"every": 60.0, "jitter": 5.0}
    answer = await handle.execute_update("reschedule", {"cron": "@daily"})
    assert answer["schedule"] == {"cron": "@daily"}
    answer = await handle.execute_update("reschedule", None)
    assert answer["schedule"] == {"every": 3600.0}
    await raw.still_works(handle, "continuous")


async def test_the_last_of_many_schedules_holds(raw: Raw) -> None:
    handle = await raw.started("continuous")
    await handle.signal("reschedule", {"cron": "0 9 * * *"})
    await handle.signal("reschedule", {"every": 77})
    await handle.signal("reschedule", {"cron": "no line"})
    await raw.rejected(handle, 1)
    assert (await handle.query("status"))["schedule"] == {"every": 77.0}
    await raw.still_works(handle, "continuous")


async def test_a_new_schedule_of_the_class_waits_until_the_instances_own_is_reset(
    client: Client, queue: str
) -> None:
    class Daily(Hourly):
        schedule = Cron("0 9 * * *")

    key, begin = new_key(), datetime.now(UTC)
    async with running_worker(client, queue, Hourly()) as jobs:
        hourly = jobs.continuous(Hourly, key)
        await hourly.start()
        await hourly.reschedule(Every(2 * HOUR))
        await eventually(lambda: _has_schedule(hourly, "every"))
    job = Daily()
    async with running_worker(client, queue, job) as jobs:
        daily = jobs.continuous(Daily, key)
        await daily.trigger()
        await eventually(lambda: job.runs)
        status = await until_status(daily, "scheduled")
        assert (status.schedule, status.rescheduled) == ({"every": 7200.0}, True)
        assert status.next_run_at is not None
        assert status.next_run_at > begin + HOUR
        await daily.reschedule(None)
        await eventually(lambda: _has_schedule(daily, "cron"))
        assert (await _planned(daily)).schedule == {"cron": "0 9 * * *"}
        await daily.terminate()
