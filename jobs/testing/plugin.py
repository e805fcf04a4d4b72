"""The pytest plugin that comes with the library."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from durable_jobs.definitions import Job

    from .live import LiveJobs


@pytest.fixture
def live_jobs() -> "Iterator[Callable[[Sequence[Job] | Job], LiveJobs]]":
    """Runs jobs on a real Temporal server: `live_jobs([Digest()])` gives a `LiveJobs`.

    The test session has one server. What a test started ends with it.
    """
    from .live import LiveJobs

    made: list[LiveJobs] = []

    def start(jobs: "Sequence[Job] | Job") -> LiveJobs:
        made.append(LiveJobs(jobs))
        return made[-1]

    yield start
    for live in made:
        live.close()


def pytest_sessionfinish() -> None:
    """Stop the server, where a test has started it."""
    background = sys.modules.get(f"{__package__}.background")
    if background is not None:
        background.background.stop()
