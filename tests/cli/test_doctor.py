"""`durable-jobs doctor`."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.deployment.v1 import WorkerDeploymentOptions, WorkerDeploymentVersion
from temporalio.api.enums.v1 import IndexedValueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.client import Client

from durable_jobs.cli.clock import least_skew, skew
from durable_jobs.cli.doctor import (
    judged_clock,
    judged_job_status,
    judged_server,
    judged_version,
    judged_workers,
)
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from durable_jobs.handles.visible import JOB_STATUS_TYPE
from tests.many.jobs import Digest
from tests.support.jobs import running_worker
from tests.support.operating import Operator
from tests.tracking.collector import Collector

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def poller(name: str, ago: timedelta) -> PollerInfo:
    seen = PollerInfo(identity=name)
    seen.last_access_time.FromDatetime(NOW - ago)
    return seen


@pytest.mark.parametrize(
    ("number", "level"),
    [("1.28.0", "ok"), ("1.32.1-147.4", "ok"), ("2.0", "ok"), ("1.27.9", "fail"), ("", "warn")],
)
def test_a_server_before_1_28_fails(number: str, level: str) -> None:
    finding = judged_server(number, "here")
    assert finding.level == level
    assert bool(finding.advice) == (level != "ok")


def test_workers_that_poll_for_workflows_and_activities_are_counted_once() -> None:
    both = [poller("1@a", timedelta(seconds=5)), poller("2@b", timedelta(seconds=100))]
    finding = judged_workers("q", {"workflows": both, "activities": both}, NOW)
    assert finding.level == "ok"
    assert finding.found == "2 workers have polled the task queue q in the last 2 min: 1@a, 2@b"


def test_a_worker_that_polled_minutes_ago_is_none() -> None:
    gone = [poller("1@a", timedelta(minutes=3))]
    finding = judged_workers("q", {"workflows": gone, "activities": gone}, NOW)
    assert (finding.level, finding.found) == ("fail", "nobody polls the task queue q")


def test_a_worker_for_workflows_alone_is_not_enough() -> None:
    one = [poller("1@a", timedelta())]
    finding = judged_workers("q", {"workflows": one, "activities": []}, NOW)
    assert (finding.level, finding.found) == ("fail", "nobody polls q for activities")


NO_VERSION = WorkerDeploymentVersion()
FIRST = WorkerDeploymentVersion(deployment_name="shop", build_id="1.0.0")


def of_version(build: str) -> PollerInfo:
    versioned = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    options = WorkerDeploymentOptions(
        deployment_name="shop", build_id=build, worker_versioning_mode=versioned
    )
    seen = poller(f"{build}@a", timedelta())
    seen.deployment_options.CopyFrom(options)
    return seen


def test_workers_get_tasks_where_one_is_of_the_current_version() -> None:
    plain = poller("1@a", timedelta())
    assert judged_version("q", NO_VERSION, [plain], NOW) is None
    assert judged_version("q", FIRST, [of_version("1.0.0"), of_version("1.1.0")], NOW) is None


def test_workers_of_a_version_that_is_not_current_get_nothing() -> None:
    finding = judged_version("q", NO_VERSION, [of_version("1.0.0")], NOW)
    assert finding is not None
    expected = (
        "Temporal sends the tasks of q to workers without a version, and no such worker polls"
    )
    assert finding.found == expected
    assert finding.advice.endswith(
        "temporal worker deployment set-current-version --deployment-name shop --build-id 1.0.0"
    )


def test_workers_without_a_version_get_nothing_while_one_is_current() -> None:
    finding = judged_version("q", FIRST, [poller("1@a", timedelta())], NOW)
    assert finding is not None
    assert finding.found.startswith("Temporal sends the tasks of q to version 1.0.0 of shop, and")
    assert finding.advice.endswith("set-current-version --deployment-name shop --unversioned")


def test_a_search_attribute_of_another_type_is_no_help() -> None:
    assert judged_job_status(JOB_STATUS_TYPE).level == "ok"
    finding = judged_job_status(IndexedValueType.INDEXED_VALUE_TYPE_TEXT)
    assert finding.level == "warn"
    assert "has the type TEXT, not KEYWORD_LIST" in finding.found


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (timedelta(), "ok", "goes with Temporal's"),
        (timedelta(seconds=1), "ok", "1 s ahead of Temporal's"),
        (timedelta(seconds=-30), "warn", "30 s behind Temporal's"),
        (timedelta(hours=1), "fail", "1 h ahead of Temporal's"),
    ],
)
def test_clocks_may_differ_by_two_seconds(ahead: timedelta, level: str, words: str) -> None:
    finding = judged_clock(ahead)
    assert finding.level == level
    assert words in finding.found


@pytest.mark.parametrize(("theirs", "ahead"), [(-3, 3), (0, 0), (1, 0), (5, -4)])
def test_a_skew_is_what_the_wait_for_the_answer_cannot_explain(theirs: int, ahead: int) -> None:
    second = timedelta(seconds=1)
    assert least_skew(NOW + theirs * second, NOW, NOW + second) == ahead * second


async def test_the_clock_of_a_server_on_this_machine_goes_with_ours(client: Client) -> None:
    assert await skew(client, timedelta(seconds=20)) == timedelta()


async def test_a_healthy_set_up_passes(
    client: Client, queue: str, server: EmbeddedServer, collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", queue)
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", collector.url)
    async with running_worker(client, queue, Digest()):
        findings = json.loads(await Operator(server.target)("doctor", "--json"))
    assert [finding["what"] for finding in findings if finding["level"] == "ok"] == [
        "versions", "connection", "namespace", "visibility", "workers", "clock", "tracking",
    ]  # fmt: skip
    [missing] = [finding for finding in findings if finding["level"] != "ok"]
    assert (missing["level"], missing["what"]) == ("off", "JobStatus")
    assert missing["advice"].endswith("durable-jobs setup")


async def test_what_is_missing_is_said_with_what_to_do(
    queue: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/events"
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", queue)
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", nobody)
    said = await Operator(server.target)("doctor", code=1)
    assert f"fail  workers     nobody polls the task queue {queue}" in said
    assert "start a worker: durable-jobs worker --jobs" in said
    assert "start the collector" in said


async def test_a_missing_namespace_or_server_ends_the_checks_that_need_it(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DURABLE_JOBS_TRACKING_URL", raising=False)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
    said = await Operator(server.target)("doctor", code=1)
    assert "there is no namespace nowhere" in said
    assert "workers" not in said
    assert "off   tracking" in said
    said = await Operator(f"127.0.0.1:{free_port()}")("doctor", code=1)
    assert "fail  connection  Temporal does not answer at" in said
