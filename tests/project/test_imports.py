"""What `import durable_jobs` loads: a client needs nothing that only a worker does."""

import json
import subprocess
import sys
from typing import Any

import pytest

import durable_jobs

ONLY_FOR_WORKERS = {
    "cronsim",
    "durable_jobs.activities",
    "durable_jobs.cli",
    "durable_jobs.plugin",
    "durable_jobs.tracking",
    "durable_jobs.worker",
    "durable_jobs.workflows",
    "httpx",
    "multiprocessing",
    "opentelemetry",
    "pydantic_settings",
    "rich",
    "temporalio.worker",
    "temporalio.workflow",
    "typer",
}

A_CLIENT = """
from datetime import timedelta
import durable_jobs

class Latest(durable_jobs.DebounceJob[str]):
    name = "latest"
    flush_after = timedelta(seconds=1)
    async def execute(self, run): ...

class Poll(durable_jobs.ContinuousJob[int]):
    name = "poll"
    schedule = durable_jobs.Every(timedelta(seconds=1))
    async def execute(self, run): ...
"""


def loaded_by(code: str) -> set[str]:
    """The modules that code loads beyond Temporal's own client, in a process of its own."""
    script = (
        "import json, sys, temporalio.client; before = set(sys.modules)\n"
        f"{code}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("code", ["import durable_jobs", A_CLIENT])
def test_a_client_loads_nothing_that_only_a_worker_needs(code: str) -> None:
    loaded = loaded_by(code)
    assert not loaded & ONLY_FOR_WORKERS
    # 162 when this was written, 53 of them pydantic's. What a worker needs makes it 290.
    assert len(loaded) < 200


def test_what_a_worker_needs_is_loaded_when_it_is_first_used() -> None:
    loaded = loaded_by("from durable_jobs import JobsPlugin, run_worker")
    assert {"durable_jobs.plugin", "durable_jobs.worker", "durable_jobs.workflows"} <= loaded
    assert "opentelemetry" not in loaded


def test_every_public_name_is_there_and_is_listed() -> None:
    assert durable_jobs.__all__ == sorted(durable_jobs.__all__)
    assert set(durable_jobs.__all__) <= set(dir(durable_jobs))
    for name in durable_jobs.__all__:
        assert getattr(durable_jobs, name) is not None


def test_a_name_that_is_not_there_is_said_as_of_any_module() -> None:
    package: Any = durable_jobs
    with pytest.raises(AttributeError, match="module 'durable_jobs' has no attribute 'JobPlugin'"):
        _ = package.JobPlugin
    with pytest.raises(ImportError, match="JobPlugin"):
        exec("from durable_jobs import JobPlugin")
