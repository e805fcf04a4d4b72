"""`durable-jobs init`: a first project, which runs."""

import os
import signal
from importlib.metadata import version
from pathlib import Path

import yaml

from durable_jobs.cli.init import content_of
from durable_jobs.embedded import EmbeddedServer
from tests.support import Python
from tests.support.shop import WORKER

INIT = ("-m", "durable_jobs.cli", "init")
COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())


async def test_its_tests_pass_and_its_job_runs(
    tmp_path: Path, server: EmbeddedServer, queue: str
) -> None:
    with Python(*INIT, "demo", cwd=tmp_path) as made:
        assert await made.exit_code() == 0
        assert "cd demo && python -m pytest -q && durable-jobs dev --jobs jobs:jobs" in made.text
    project = tmp_path / "demo"
    with Python("-m", "pytest", "-q", cwd=project) as tests:
        assert await tests.exit_code() == 0, tests.text
        assert "3 passed" in tests.text
    environment = {"TEMPORAL_ADDRESS": server.target, "DURABLE_JOBS_TASK_QUEUE": queue}
    with Python(*WORKER, "--jobs", "jobs:jobs", cwd=project, **environment) as worker:
        await worker.line("continuous:poll:default run 1 attempt 1: read page 1")
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code() == 0


async def test_what_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "jobs.py"
    mine.write_text("mine")
    with Python(*INIT, cwd=tmp_path) as made:
        assert await made.exit_code() == 2
        assert "jobs.py already; name a new folder" in made.text
    assert mine.read_text() == "mine"
    assert os.listdir(tmp_path) == [mine.name]


def test_its_compose_file_asks_the_worker_where_it_answers_and_shares_a_pinned_image() -> None:
    services = yaml.safe_load(content_of("compose.yml", "demo"))["services"]
    command, check = services["worker"]["command"], services["worker"]["healthcheck"]["test"]
    assert f"http://{command[command.index('--health') + 1]}/readyz" in " ".join(check)
    assert services["temporal"]["image"] == COMPOSE["services"]["temporal-schema"]["image"]
    environment = services["worker"]["environment"]
    assert environment["DURABLE_JOBS_TRACKING_URL"] == "http://collector:4000/events"


def test_it_needs_the_library_of_the_version_that_made_it() -> None:
    for name in ("requirements.txt", "Dockerfile"):
        assert f"=={version('durable-jobs')}" in content_of(name, "demo")
    assert content_of("README.md", "demo").startswith("# demo\n")
