"""A year of cron ticks, tick for tick. `make year` lives the hours of a whole one."""

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.support.year import changes, live

DAY = timedelta(days=1)


@pytest.mark.parametrize("line", ["30 2 * * *", "0 9 * * *"])
async def test_a_year_of_a_daily_job_is_due_at_the_times_of_an_independent_calculation(
    time_skipping: WorkflowEnvironment, queue: str, line: str
) -> None:
    begin = await time_skipping.get_current_time() + timedelta(minutes=1)
    await live(time_skipping, queue, line, begin, ticks=365)


@pytest.mark.parametrize("which", [0, 1])
async def test_two_weeks_of_an_hourly_job_around_a_change_of_clock(
    time_skipping: WorkflowEnvironment, queue: str, which: int
) -> None:
    change = changes(await time_skipping.get_current_time() + 8 * DAY)[which]
    await live(time_skipping, queue, "0 * * * *", change - 7 * DAY, ticks=14 * 24)
