"""`make year`: each hour of a year of a cron job. It takes minutes: no part of the suite."""

import time
from datetime import timedelta

from temporalio.testing import WorkflowEnvironment

from tests.support.year import live

TICKS = 8_760


async def test_a_year_of_an_hourly_job(time_skipping: WorkflowEnvironment, queue: str) -> None:
    begin = await time_skipping.get_current_time() + timedelta(minutes=1)
    began = time.monotonic()
    lengths = await live(time_skipping, queue, "0 * * * *", begin, ticks=TICKS)
    spent = time.monotonic() - began
    print(  # noqa: T201
        f"\n{TICKS} ticks due as calculated, in {spent:.0f} s, "
        f"{spent / TICKS * 1000:.1f} ms each; "
        f"{len(lengths)} histories of at most {max(lengths)} events"
    )
