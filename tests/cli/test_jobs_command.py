"""`durable-jobs jobs`: what a module defines."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Every,
    Retry,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.cli.defined import retry_text, rows_of, type_name
from durable_jobs.definitions import Job
from durable_jobs.errors import DefinitionError
from durable_jobs.loading import LoadError, load_jobs
from durable_jobs.registry import Registry
from tests.many.jobs import Digest
from tests.support import Python
from tests.support.shop import Quick


class Poll(ContinuousJob[dict[str, int]]):
    name = "poll"
    schedule = Every(timedelta(minutes=5))
    keys = ("a", "b")
    max_runs = 3

    async def execute(self, run: ContinuousRun[dict[str, int]]) -> None: ...


class Pool(WorkerPoolJob[str]):
    name = "pool"
    concurrency = 1

    async def execute(self, run: WorkerPoolRun[str]) -> None: ...


class OtherPool(Pool): ...


def rows(job: Job) -> dict[str, str]:
    return dict(rows_of(job, type(job).options()))


def test_a_job_is_described_by_when_it_runs_its_types_retry_and_handlers() -> None:
    assert rows(Poll()) == {
        "runs": "every 5 min; a worker starts a, b; at most 3 times",
        "types": "state dict[str, int]",
        "retry": "no limit of attempts, exponential from 1 s to 5 min; then continue",
        "handlers": "execute, 5 min an attempt",
    }


def test_a_window_is_described_by_its_rules() -> None:
    assert rows(Quick())["runs"] == "50 ms after a window's first event"


def test_one_event_at_a_time_is_said_so() -> None:
    assert rows(Pool())["runs"] == "1 event at a time"


@pytest.mark.parametrize(
    ("retry", "text"),
    [
        (Retry(max_attempts=1), "none"),
        (Retry(max_attempts=3, backoff="fixed"), "3 attempts, 1 s apart"),
        (
            Retry(max_duration=timedelta(hours=1), backoff="linear"),
            "no limit of attempts within 1 h, linear from 1 s to 5 min",
        ),
    ],
)
def test_a_retry_rule_is_told_in_words(retry: Retry, text: str) -> None:
    assert retry_text(retry.rule()) == text


def test_types_are_named_as_their_author_writes_them() -> None:
    assert [type_name(kind) for kind in (str, list[str], str | None)] == [
        "str",
        "list[str]",
        "str | None",
    ]


def test_two_jobs_of_one_name_are_refused_with_their_classes() -> None:
    with pytest.raises(DefinitionError, match=r"named 'pool': .*\.Pool and .*\.OtherPool; rename"):
        Registry([Digest(), Pool(), OtherPool()], None)


def test_a_file_in_place_of_a_module_is_refused_with_the_modules_name() -> None:
    with pytest.raises(LoadError, match=r"name the module: myapp\.jobs:jobs"):
        load_jobs("myapp/jobs.py:jobs")


async def test_the_command_shows_each_job_and_where_it_is(folder: Path) -> None:
    with Python("-m", "durable_jobs.cli", "jobs", "shop:jobs", cwd=folder) as command:
        assert await command.exit_code() == 0
        assert "debounce:quick  shop.Quick  shop.py:7" in command.text
        assert "4 jobs, checked as a worker checks them" in command.text


async def test_for_machines_it_prints_every_option(folder: Path) -> None:
    with Python("-m", "durable_jobs.cli", "jobs", "shop:listed", "--json", cwd=folder) as command:
        assert await command.exit_code() == 0
        [job] = json.loads(command.text)
    assert (job["jobName"], job["class"], job["place"]) == ("quick", "shop.Quick", "shop.py:7")
    assert job["options"]["timeout"] == 300


async def test_what_a_worker_could_not_run_has_the_exit_code_2(folder: Path) -> None:
    with Python("-m", "durable_jobs.cli", "jobs", "shop:wrong", cwd=folder) as command:
        assert await command.exit_code() == 2
        assert "Nameless: name must match" in command.text
