"""What a worker measures, as an OpenTelemetry collector receives it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest as Export,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
from temporalio.client import Client
from temporalio.runtime import OpenTelemetryConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.tracking.jobs import Gather, Item


class Receiver:
    """Takes OTLP over HTTP, and knows the last export of each metric."""

    def __init__(self) -> None:
        self.url = ""
        self.metrics: dict[str, Metric] = {}

    def take(self, body: bytes) -> None:
        """One export."""
        for resource in Export.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}

    def total(self, name: str, **labels: str) -> int:
        """The sum of a counter over the points with these labels."""
        points = self.metrics[name].sum.data_points
        return sum(_number(point) for point in points if labels.items() <= _labels(point).items())


def _number(point: NumberDataPoint) -> int:
    return point.as_int or round(point.as_double)


def _labels(point: NumberDataPoint) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/v1/metrics"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


async def test_an_opentelemetry_collector_gets_the_metrics_of_jobs_and_temporals_own(
    server: EmbeddedServer, queue: str
) -> None:
    with receiving() as receiver:
        metrics = OpenTelemetryConfig(
            url=receiver.url, http=True, metric_periodicity=timedelta(milliseconds=100)
        )
        # It goes on to export, and to complain, when the receiver has gone.
        runtime = Runtime(telemetry=TelemetryConfig(logging=None, metrics=metrics))
        client = await Client.connect(server.target, runtime=runtime)
        plugin = JobsPlugin([Gather()], Tracking(MemorySink()))
        async with Worker(client, task_queue=queue, plugins=[plugin]):
            window = JobClient(client, task_queue=queue).debounce(Gather, queue)
            await window.add(Item(fail=1))
            delivered = "durable_jobs_tracking_events_delivered"
            await eventually(lambda: receiver.total(delivered) == 4)
            emitted = "durable_jobs_tracking_events_emitted"
            job = {"job_type": "debounce", "job_name": "gather", "task_queue": queue}
            assert receiver.total(emitted, **job) == 4
            assert receiver.total(emitted, event_type="job.failed") == 1
            attempts = receiver.metrics["durable_jobs_attempt_duration"].histogram.data_points
            assert sum(point.count for point in attempts) == 2
            assert receiver.total("temporal_workflow_completed", task_queue=queue) == 1
