"""Log lines of a worker: of which run they are, as text or as JSON, and how many."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from durable_jobs import TaskJob, TaskRun
from durable_jobs.cli.logs import (
    JsonFormatter,
    LogLevel,
    TextFormatter,
    read_levels,
    set_levels_of_jobs,
)
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.testing import run_job
from tests.support import Python
from tests.support.shop import WORKER

RUN = {
    "instance_id": "continuous:poll:acct-1",
    "job_name": "poll",
    "key": "acct-1",
    "handler": "execute",
    "run_count": 3,
    "attempt": 2,
}

LOUD = """
import logging
from datetime import timedelta
from durable_jobs import ContinuousJob, Every

class Loud(ContinuousJob[int]):
    name = "loud"
    schedule = Every(timedelta(hours=1))
    keys = ("a",)

    async def execute(self, run):
        run.logger.debug("in depth")
        logging.getLogger("library").warning("beside")
        self.in_a_thread(run)

class Plain(Loud):
    name = "plain"

    def execute(self, run):
        logging.getLogger("library").warning("from a thread")

Loud.in_a_thread = lambda self, run: run.logger.info("done")
jobs = [Loud(), Plain()]
"""


class Logging(TaskJob[str, int]):
    name = "logging"

    def on_event(self, run: TaskRun[int], event: str) -> None:
        run.logger.info("got %s", event, extra={"size": len(event), "attempt": "not this"})

    def execute(self, run: TaskRun[int]) -> None: ...


def record(name: str, fields: Mapping[str, Any] = RUN, **more: Any) -> logging.LogRecord:
    error = more.get("exc_info")
    made = logging.LogRecord(name, logging.INFO, "file.py", 1, "page %d", (7,), error)
    made.created = 0.25
    made.__dict__.update(fields)
    return made


def test_a_line_of_run_logger_has_the_fields_of_its_run_and_those_of_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "durable_jobs.job.logging"):
        run_job(Logging(), key="k", state=0, events=["hello"], attempt=2)
    [line] = [each for each in caplog.records if each.name == "durable_jobs.job.logging"]
    fields = line.__dict__
    assert line.getMessage() == "got hello"
    assert {name: fields[name] for name in (*RUN, "size")} == {
        "instance_id": "task:logging:k",
        "job_name": "logging",
        "key": "k",
        "handler": "on_event",
        "run_count": 1,
        "attempt": 2,
        "size": 5,
    }


def test_text_begins_a_line_of_a_run_with_its_instance() -> None:
    line = TextFormatter().format(record("durable_jobs.job.poll"))
    assert line.endswith(" INFO continuous:poll:acct-1 run 3 attempt 2: page 7")


def test_text_names_another_logger_beside_the_run() -> None:
    line = TextFormatter().format(record("library"))
    assert line.endswith(" INFO library [continuous:poll:acct-1 run 3 attempt 2]: page 7")
    line = TextFormatter().format(record("library", {}))
    assert line.endswith(" INFO library: page 7")


def test_json_has_the_same_in_fields() -> None:
    assert json.loads(JsonFormatter().format(record("durable_jobs.job.poll"))) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "durable_jobs.job.poll",
        "message": "page 7",
        "instance": "continuous:poll:acct-1",
        "job": "poll",
        "key": "acct-1",
        "handler": "execute",
        "run": 3,
        "attempt": 2,
    }


def test_json_keeps_an_error_with_its_stack_on_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        failed = record("library", {}, exc_info=(ValueError, error, error.__traceback__))
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    assert "ValueError: two\nlines" in json.loads(line)["exception"]


def test_levels_are_one_for_all_and_those_of_single_jobs() -> None:
    levels = read_levels(["warning", "quiet=error", "a.b=debug"])
    assert levels.level is LogLevel.warning
    assert levels.of_jobs == {"quiet": LogLevel.error, "a.b": LogLevel.debug}
    set_levels_of_jobs(levels, ["quiet", "a.b"])
    assert logging.getLogger("durable_jobs.job.quiet").level == logging.ERROR


@pytest.mark.parametrize("word", ["loud", "poll=loud", "=debug", "poll=", "", "INFO"])
def test_what_is_no_level_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is no level; give one of debug, info"):
        read_levels([word])


async def test_a_worker_writes_each_line_of_user_code_with_its_run(
    tmp_path: Path, server: EmbeddedServer, queue: str
) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    levels = ("--log-level", "loud=debug", "--log-level", "lout=debug")
    options = ("--jobs", "loud:jobs", "--log-format", "json", *levels)
    environment = {"TEMPORAL_ADDRESS": server.target, "DURABLE_JOBS_TASK_QUEUE": queue}
    with Python(*WORKER, *options, cwd=tmp_path, **environment) as worker:
        await worker.lines("in depth", "beside", '"done"', "from a thread")
        lines = [json.loads(line) for line in worker.output if line.startswith("{")]
    found = {line["message"]: line for line in lines}
    unknown = found["--log-level: this worker has no job 'lout'; it has loud, plain"]
    assert unknown["level"] == "warning"
    for message in ("in depth", "beside", "done"):
        line = found[message]
        assert (line["instance"], line["run"], line["attempt"]) == ("continuous:loud:a", 1, 1)
    assert found["beside"]["logger"] == "library"
    assert found["from a thread"]["instance"] == "continuous:plain:a"
