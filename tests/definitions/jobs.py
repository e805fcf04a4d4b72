"""Sound definitions, and how tests spoil them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    DefinitionError,
    Every,
    JobsError,
    JobsPlugin,
    TaskJob,
    TaskRun,
)
from durable_jobs.definitions import Job
from tests.support.scripted import Push, Total

SECOND = timedelta(seconds=1)


class Latest(DebounceJob[Push]):
    name = "latest"
    flush_after = SECOND

    async def execute(self, run: DebounceRun[Push]) -> None:
        """Nothing."""


class Sums(DebounceJob[Push, Total]):
    name = "sums"
    flush_after = SECOND

    def reduce(self, state: Total | None, event: Push) -> Total:
        return Total()

    async def execute(self, run: DebounceRun[Total]) -> None:
        """Nothing."""


class Poll(ContinuousJob[Total]):
    name = "poll"
    schedule = Every(SECOND)

    async def execute(self, run: ContinuousRun[Total]) -> None:
        """Nothing."""


class Triage(TaskJob[Push, Total, int]):
    name = "triage"

    async def on_event(self, run: TaskRun[Total], event: Push) -> int:
        return 1

    async def execute(self, run: TaskRun[Total]) -> None:
        """Nothing."""


def but(job: type[Job], **changed: object) -> Callable[[], Job]:
    """The same job with other attributes."""
    return type(job.__name__, (job,), changed)


def refusal(*jobs: Any) -> str:
    """With what a registration was refused."""
    with pytest.raises(DefinitionError) as refused:
        JobsPlugin(jobs)
    assert isinstance(refused.value, JobsError)
    return str(refused.value)
