"""`durable-jobs doctor`: what a set-up needs, checked one thing after another."""

import platform
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from time import monotonic
from typing import Final, Literal

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from durable_jobs.tracking import Tracking

from ..connection import connect, connection_config, described_queue, target_of
from ..errors import InvalidSettings, TemporalUnreachable
from ..handles.visible import JOB_STATUS_TYPE
from ..kinds import KINDS
from ..settings import Settings, load_settings, tracking_from
from .clock import skew
from .setup import not_ours, type_of_job_status
from .spans import span_text

Level = Literal["ok", "off", "warn", "fail"]

OLDEST_SERVER: Final = (1, 28)
_POLLED_WITHIN: Final = timedelta(minutes=2)
"""A poll waits up to a minute, and the server notes when it began."""

_VERSIONED = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
_SMALL_SKEW, _LARGE_SKEW = timedelta(seconds=2), timedelta(minutes=1)
_START_WORKER = "start a worker: durable-jobs worker --jobs mypackage.jobs:jobs"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    found: str
    advice: str = ""
    """What to do; empty where nothing is."""


async def examine(timeout: timedelta) -> AsyncGenerator[Finding]:
    """Look at one thing after another. What needs a thing that is missing is left out."""
    yield _versions()
    try:
        settings = load_settings()
        tracking = tracking_from(settings)
        connection_config()
    except InvalidSettings as error:
        yield Finding("fail", "settings", str(error), "set the variable, or leave it out")
        return
    try:
        client = await connect(timeout=timeout)
    except TemporalUnreachable as error:
        yield Finding("fail", "connection", str(error))
        yield await _tracking(settings, tracking)
        return
    yield await _connection(client, timeout)
    namespace = await _namespace(client, timeout)
    yield namespace
    if namespace.level != "fail":
        yield await _instances(client, timeout)
        yield await _job_status(client, timeout)
        yield await _workers(client, settings, timeout)
        yield await _clock(client, timeout)
    yield await _tracking(settings, tracking)


def _versions() -> Finding:
    parts = [f"{name} {version(name)}" for name in ("durable-jobs", "temporalio", "pydantic")]
    return Finding("ok", "versions", ", ".join([*parts, f"Python {platform.python_version()}"]))


async def _connection(client: Client, timeout: timedelta) -> Finding:
    began, asked = monotonic(), GetSystemInfoRequest()
    try:
        info = await client.workflow_service.get_system_info(asked, timeout=timeout)
    except RPCError as error:
        return Finding("fail", "connection", f"{target_of(client)}: {error.message}",
                       "see what the server's log says")  # fmt: skip
    took = span_text(timedelta(seconds=monotonic() - began))
    return judged_server(info.server_version, f"{target_of(client)} answers in {took}")


def judged_server(number: str, where: str) -> Finding:
    """Whether a server's version is one that the library works with."""
    parts = tuple(map(int, re.findall(r"\d+", number)[:2]))
    least = ".".join(map(str, OLDEST_SERVER))
    if len(parts) < 2:
        return Finding("warn", "connection", f"{where}; its version is {number or 'not known'}",
                       f"make sure that it is {least} or newer")  # fmt: skip
    if parts < OLDEST_SERVER:
        return Finding("fail", "connection", f"{where}; its version is {number}",
                       f"upgrade the Temporal server to {least} or newer")  # fmt: skip
    return Finding("ok", "connection", f"{where}; Temporal {number}")


async def _namespace(client: Client, timeout: timedelta) -> Finding:
    name = client.namespace
    request = DescribeNamespaceRequest(namespace=name)
    try:
        found = await client.workflow_service.describe_namespace(request, timeout=timeout)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            advice = f"set TEMPORAL_NAMESPACE, or: temporal operator namespace create -n {name}"
            return Finding("fail", "namespace", f"there is no namespace {name}", advice)
        return Finding("warn", "namespace", f"{name}: {error.message}",
                       "see what the credentials allow")  # fmt: skip
    kept = found.config.workflow_execution_retention_ttl.ToTimedelta()
    return Finding("ok", "namespace", f"{name}, which keeps ended instances for {span_text(kept)}")


async def _instances(client: Client, timeout: timedelta) -> Finding:
    types = ", ".join(f'"{kind.workflow}"' for kind in KINDS.values())
    query = f'WorkflowType IN ({types}) AND ExecutionStatus = "Running"'
    try:
        found = await client.count_workflows(query, rpc_timeout=timeout)
    except RPCError as error:
        return Finding("warn", "visibility", error.message,
                       "lists and choices need Temporal's visibility")  # fmt: skip
    alive = "1 instance is alive" if found.count == 1 else f"{found.count:,} instances are alive"
    return Finding("ok", "visibility", f"{alive} in this namespace")


async def _job_status(client: Client, timeout: timedelta) -> Finding:
    try:
        return judged_job_status(await type_of_job_status(client, timeout))
    except RPCError as error:
        return Finding("warn", "JobStatus", error.message,
                       "with credentials that see no search attributes, lists ask all")  # fmt: skip


def judged_job_status(known: IndexedValueType.ValueType | None) -> Finding:
    """Whether Temporal can find what is paused or fails; None: the attribute is missing."""
    if known is None:
        found = "no such search attribute: list --failing asks each instance"
        return Finding("off", "JobStatus", found, "create it, once: durable-jobs setup")
    if known != JOB_STATUS_TYPE:
        return Finding("warn", "JobStatus", f"the search attribute {not_ours(known)}",
                       "rename the other one, then: durable-jobs setup")  # fmt: skip
    return Finding("ok", "JobStatus", "by this search attribute Temporal finds what fails")


async def _workers(client: Client, settings: Settings, timeout: timedelta) -> Finding:
    queue = settings.task_queue
    kinds = {
        "workflows": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        "activities": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    }
    try:
        found = {
            name: await described_queue(client, queue, kind, timeout)
            for name, kind in kinds.items()
        }
    except RPCError as error:
        return Finding("warn", "workers", error.message, "see what the credentials allow")
    polling, now = {name: each.pollers for name, each in found.items()}, datetime.now(UTC)
    finding = judged_workers(queue, polling, now)
    if finding.level != "ok":
        return finding
    current = found["workflows"].versioning_info.current_deployment_version
    return judged_version(queue, current, polling["workflows"], now) or finding


def judged_workers(queue: str, found: Mapping[str, Iterable[PollerInfo]], now: datetime) -> Finding:
    """Whether workers take the tasks of a queue."""
    lately = {
        name: {each.identity for each in listed if now - _polled(each) < _POLLED_WITHIN}
        for name, listed in found.items()
    }
    if not any(lately.values()):
        return Finding("fail", "workers", f"nobody polls the task queue {queue}",
                       f"{_START_WORKER}; of another queue: DURABLE_JOBS_TASK_QUEUE")  # fmt: skip
    for name, who in lately.items():
        if not who:
            return Finding("fail", "workers", f"nobody polls {queue} for {name}",
                           f"{_START_WORKER}; let it run both kinds")  # fmt: skip
    names = sorted(set[str]().union(*lately.values()))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    count = "1 worker has" if len(names) == 1 else f"{len(names)} workers have"
    lately_text = span_text(_POLLED_WITHIN)
    return Finding(
        "ok", "workers", f"{count} polled the task queue {queue} in the last {lately_text}: {shown}"
    )


def judged_version(
    queue: str, current: WorkerDeploymentVersion, polling: Iterable[PollerInfo], now: datetime
) -> Finding | None:
    """That the workers are of other versions than the one that gets the tasks, if so.

    A version without names stands for the workers that have none.
    """
    lately = [each.deployment_options for each in polling if now - _polled(each) < _POLLED_WITHIN]
    versions = {
        (of.deployment_name, of.build_id) if of.worker_versioning_mode == _VERSIONED else ("", "")
        for of in lately
    }
    if (current.deployment_name, current.build_id) in versions:
        return None
    wanted = f"version {current.build_id} of {current.deployment_name}" if current.build_id else ""
    name, build = max(versions)
    known = f"--deployment-name {name} --build-id {build}"
    return Finding(
        "fail",
        "workers",
        f"Temporal sends the tasks of {queue} to {wanted or 'workers without a version'}, "
        "and no such worker polls",
        "start one, or send them elsewhere: temporal worker deployment set-current-version "
        + (known if build else f"--deployment-name {current.deployment_name} --unversioned"),
    )


def _polled(poller: PollerInfo) -> datetime:
    return poller.last_access_time.ToDatetime(UTC)


async def _clock(client: Client, timeout: timedelta) -> Finding:
    ahead = await skew(client, timeout)
    if ahead is None:
        return Finding("warn", "clock", "Temporal's clock cannot be read with these credentials",
                       "compare the clocks of workers and server by hand")  # fmt: skip
    return judged_clock(ahead)


def judged_clock(ahead: timedelta) -> Finding:
    """Whether this machine's clock goes with the server's; positive: it is ahead."""
    if not ahead:
        return Finding("ok", "clock", "this machine's goes with Temporal's")
    word = "ahead of" if ahead > timedelta() else "behind"
    found = f"this machine's is {span_text(ahead)} {word} Temporal's"
    advice = "set both clocks by NTP: schedules, signatures and times in events go by them"
    if abs(ahead) < _SMALL_SKEW:
        return Finding("ok", "clock", found)
    return Finding("warn" if abs(ahead) < _LARGE_SKEW else "fail", "clock", found, advice)


async def _tracking(settings: Settings, tracking: Tracking | None) -> Finding:
    from durable_jobs.tracking.sinks.address import origin_of, read_url
    from durable_jobs.tracking.sinks.base import Accepted, Misconfigured, RetryLater

    if tracking is None or settings.tracking_url is None:
        return Finding("off", "tracking", "DURABLE_JOBS_TRACKING_URL is not set",
                       "for a history with a page: durable-jobs collector")  # fmt: skip
    sink = tracking.sink
    try:
        answer = await sink.send([])
    finally:
        await sink.close()
    if isinstance(answer, Accepted):
        where = origin_of(read_url(settings.tracking_url, "the tracking URL"))
        return Finding("ok", "tracking", f"the collector at {where} accepts")
    if isinstance(answer, Misconfigured):
        return Finding("fail", "tracking", answer.message,
                       "correct DURABLE_JOBS_TRACKING_URL, _HEADERS or _SECRET")  # fmt: skip
    if isinstance(answer, RetryLater):
        advice = "start the collector; what workers send it waits for 24 h"
    else:
        advice = "see what is wrong in the collector's log"
    return Finding("fail", "tracking", answer.message, advice)


def as_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """For machines."""
    return [asdict(finding) for finding in findings]
