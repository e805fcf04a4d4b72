"""The pytest plugin that comes with the library."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from durable_jobs.definitions import Job

    from .effects import Effects
    from .live import LiveJobs


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--kill-workers`."""
    parser.getgroup("durable-jobs").addoption(
        "--kill-workers",
        action="store_true",
        help="kill workers between what a handler did and its report, in a Simulation and on "
        "live_jobs; the fixture `effects` tells what was done twice",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Kill workers, where that is wanted."""
    if config.getoption("kill_workers"):
        from .effects import killing

        killing.on = True


@pytest.fixture
def effects() -> "Iterator[Effects]":
    """Watches what handlers do: `mail = effects.watch(Mail())`.

    The test fails where two attempts of a run did the same, and did not pass on
    `run.idempotency_key`. With `pytest --kill-workers` there are two of each run.
    """
    from .effects import Effects

    watching = Effects()
    yield watching
    if report := watching.report():
        pytest.fail(report, pytrace=False)


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
