"""What a worker measures, read as Prometheus reads it: over HTTP, beside Temporal's own metrics."""

import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from socket import socket
from typing import Any

import httpx
import pytest
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from durable_jobs import DebounceJob, DebounceRun, JobClient, JobsPlugin
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from durable_jobs.errors import InvalidSettings
from durable_jobs.tracking import Tracking
from durable_jobs.tracking.sinks.base import Accepted, RetryLater, SendResult
from durable_jobs.tracking.wire import WireEvent
from durable_jobs.worker import run_worker
from tests.support import Python, eventually
from tests.tracking.jobs import Gather, Item

_LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Series:
    """One line of what was scraped."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass
class Scraped:
    """All metrics at one moment."""

    series: list[Series]

    def sum(self, name: str, **labels: str) -> float | None:
        """The sum of the series with these labels; None where there is none."""
        found = [
            each.value
            for each in self.series
            if each.name == name and labels.items() <= each.labels.items()
        ]
        return sum(found) if found else None


async def scrape(address: str) -> Scraped:
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://{address}/metrics")).raise_for_status().text
    matches = (_LINE.fullmatch(line) for line in text.splitlines())
    return Scraped(
        [
            Series(match[1], dict(_LABEL.findall(match[2] or "")), float(match[3]))
            for match in matches
            if match
        ]
    )


@dataclass
class Picky:
    """A sink that fails at first, and refuses one type of event for good."""

    failures: int = 1
    refused: str = "debounce.started"
    types: list[str] = field(default_factory=list[str])
    """Of all events that it accepted or refused."""

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        if self.failures > 0:
            self.failures -= 1
            return RetryLater("not yet")
        self.types += [str(event["type"]) for event in events]
        wrong = [str(each["eventId"]) for each in events if each["type"] == self.refused]
        return Accepted(dict.fromkeys(wrong, "not wanted"))

    async def close(self) -> None:
        pass


class Slow(Gather):
    """Its failing attempts are told apart from those of other tests."""

    name = "slow-gather"


@asynccontextmanager
async def measured(
    server: EmbeddedServer, queue: str, tracking: Tracking, **options: Any
) -> AsyncIterator[tuple[JobClient, str]]:
    """A user's own client and worker with a runtime of their own; gives its metrics' address."""
    address = f"127.0.0.1:{free_port()}"
    metrics = PrometheusConfig(bind_address=address)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    client = await Client.connect(server.target, runtime=runtime)
    plugin = JobsPlugin([Slow()], tracking)
    async with Worker(client, task_queue=queue, plugins=[plugin], **options):
        yield JobClient(client, task_queue=queue), address


async def test_a_users_own_runtime_gets_the_metrics_of_jobs_and_of_their_tracking(
    server: EmbeddedServer, queue: str
) -> None:
    def redact(event: WireEvent) -> WireEvent:
        if event["type"] == "job.failed":
            raise ValueError("no redaction")
        return event

    sink = Picky()
    tracking = Tracking(sink, before_send=redact)
    async with measured(server, queue, tracking) as (own_jobs, address):
        for key in ("a", "b"):
            await own_jobs.debounce(Slow, f"{queue}-{key}").add(Item(fail=1))
        await eventually(lambda: len(sink.types) == 8)
        prefix = "durable_jobs_tracking"

        async def settled() -> Scraped | None:
            found = await scrape(address)
            return found if found.sum(f"{prefix}_events_delivered") == 6 else None

        found = await eventually(settled)
        assert found.sum(f"{prefix}_events_rejected") == 2
        assert found.sum(f"{prefix}_events_dropped") == 0
        assert (found.sum(f"{prefix}_events_retried") or 0) >= 1
        assert (found.sum(f"{prefix}_before_send_failures") or 0) >= 2
        assert found.sum(f"{prefix}_events_pending") == 0
        assert found.sum(f"{prefix}_oldest_pending_age_seconds") == 0
        assert found.sum(f"{prefix}_request_duration_count") == found.sum(f"{prefix}_requests")
        assert (found.sum(f"{prefix}_delivery_duration_count") or 0) >= 1
        job = {"job_type": "debounce", "job_name": "slow-gather", "task_queue": queue}
        for kind, count in Counter(sink.types).items():
            emitted = found.sum(f"{prefix}_events_emitted", event_type=kind, **job)
            # More, where a workflow task was done again because something came meanwhile.
            assert emitted is not None, kind
            assert emitted >= count, kind
        for outcome in ("succeeded", "failed"):
            attempts = "durable_jobs_attempt_duration_count"
            assert found.sum(attempts, outcome=outcome, handler="execute", **job) == 2
        # Temporal's own, at the same place.
        assert (found.sum("temporal_workflow_completed", task_queue=queue) or 0) >= 2
        assert not [each for each in found.series if queue + "-a" in str(each.labels)]


async def test_what_cannot_be_delivered_shows_as_pending_and_how_old_it_is(
    server: EmbeddedServer, queue: str
) -> None:
    tracking = Tracking(Picky(failures=1_000))
    async with measured(server, queue, tracking) as (own_jobs, address):
        await own_jobs.debounce(Slow, queue).add(Item())

        async def pending() -> bool:
            found = await scrape(address)
            waits = found.sum("durable_jobs_tracking_events_pending") or 0
            age = found.sum("durable_jobs_tracking_oldest_pending_age_seconds") or 0
            return waits >= 1 and age > 0.5

        await eventually(pending)


async def test_a_replay_counts_no_event_again(server: EmbeddedServer, queue: str) -> None:
    sink = Picky(failures=0)
    options = {"max_cached_workflows": 0, "max_concurrent_workflow_task_polls": 1}
    async with measured(server, queue, Tracking(sink), **options) as (own_jobs, address):
        await own_jobs.debounce(Slow, queue).add(Item(fail=2))
        await eventually(lambda: "debounce.flushed" in sink.types)
        found = await scrape(address)
        assert found.sum("durable_jobs_tracking_events_emitted") == len(sink.types) == 5


class Quick(DebounceJob[dict[str, int], dict[str, int]]):
    """The job of the worker's process, for its client here."""

    name = "quick"
    flush_after = timedelta(milliseconds=50)

    async def execute(self, run: DebounceRun[dict[str, int]]) -> None:
        pass


jobs = [Quick()]


async def test_one_setting_serves_a_workers_metrics_in_the_style_of_prometheus(
    server: EmbeddedServer, queue: str
) -> None:
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **server.environment,
        "DURABLE_JOBS_TASK_QUEUE": queue,
        "DURABLE_JOBS_METRICS": address,
        "DURABLE_JOBS_TRACKING_URL": f"http://127.0.0.1:{free_port()}/events",
    }
    command = ("-m", "durable_jobs.cli", "worker", "--jobs", "tests.tracking.test_metrics:jobs")
    with Python(*command, **environment) as worker:
        await worker.line(f"http://{address}/metrics")
        client = await Client.connect(server.target)
        await JobClient(client, task_queue=queue).debounce(Quick, queue).add({"n": 1})

        async def counted() -> bool:
            found = await scrape(address)
            attempts = found.sum("durable_jobs_attempt_duration_seconds_count", job_name="quick")
            emitted = found.sum("durable_jobs_tracking_events_emitted_total")
            core = found.sum("temporal_workflow_task_execution_latency_seconds_count")
            return attempts == 1 and emitted == 3 and bool(core)

        await eventually(counted)
        fine = [f'le="{limit}"' for limit in ("0.005", "3600")]
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"http://{address}/metrics")).text
        bucket = "durable_jobs_attempt_duration_seconds_bucket"
        lines = [line for line in text.splitlines() if line.startswith(bucket)]
        assert all(any(limit in line for line in lines) for limit in fine)
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code() == 0


@pytest.mark.parametrize(
    "address", ["9464", "localhost", "127.0.0.1:x", "127.0.0.1:99999", "taken"]
)
async def test_an_address_that_cannot_be_served_at_is_named(address: str) -> None:
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = f"127.0.0.1:{taken.getsockname()[1]}" if address == "taken" else address
        with pytest.raises(InvalidSettings, match=re.escape(given)):
            await run_worker([Slow()], metrics=given)
