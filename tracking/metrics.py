"""What a worker measures, through the metrics of its Temporal runtime.

So they stand beside Temporal's own, wherever these go: a Prometheus endpoint or OpenTelemetry.
Labels have few values: job types, jobs, handlers, event types, outcomes; never keys.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from temporalio.common import MetricMeter

from durable_jobs.protocol import RunRequest

EMITTED = "durable_jobs_tracking_events_emitted"
EMITTED_MEANS = "Tracking events that instances emitted"

_PREFIX = "durable_jobs_tracking"
_COUNTED = {
    "delivered": "Tracking events that the collector accepted",
    "rejected": "Tracking events that were refused for good",
    "dropped": "Tracking events given up because they could not be delivered for too long",
    "retried": "Tracking events that had to be sent again",
    "overflowed": "Tracking events that the courier had no room for, counted each time",
}

AttemptOutcome = Literal["succeeded", "failed", "cut_off"]


@dataclass(slots=True)
class Timings:
    """Seconds measured since they were last published; the oldest go where nobody publishes."""

    requests: deque[float] = field(default_factory=lambda: deque[float](maxlen=10_000))
    """Of each request, from its start to its answer."""

    deliveries: deque[float] = field(default_factory=lambda: deque[float](maxlen=10_000))
    """Of each delivery, from the wait for its events' verdicts to its end."""


@dataclass(slots=True)
class Sample:
    """What there is to say of a courier at one moment."""

    counts: dict[str, int]
    """By the names of its counters, since it was made."""

    pending: int
    oldest: timedelta
    """How long ago the oldest event in hand happened."""

    timings: Timings


class Metrics:
    """The metrics of one plugin. They go nowhere until a worker gives them its meter."""

    def __init__(self) -> None:
        self._published: dict[str, int] = {}
        self.use(MetricMeter.noop)

    def use(self, meter: MetricMeter) -> None:
        """Record to this meter from now on."""
        self._counters = {
            name: meter.create_counter(f"{_PREFIX}_events_{name}", means)
            for name, means in _COUNTED.items()
        }
        self._counters["requests"] = meter.create_counter(
            f"{_PREFIX}_requests", "Requests to the collector"
        )
        self._counters["withheld"] = meter.create_counter(
            f"{_PREFIX}_before_send_failures",
            "Calls of before_send that failed, so that an event lost its texts",
        )
        self._pending = meter.create_gauge(
            f"{_PREFIX}_events_pending", "Tracking events in the worker's hands"
        )
        self._oldest = meter.create_gauge_float(
            f"{_PREFIX}_oldest_pending_age_seconds", "Age of the oldest of them, 0 without any"
        )
        self._request = meter.create_histogram_timedelta(
            f"{_PREFIX}_request_duration", "Time of a request to the collector"
        )
        self._delivery = meter.create_histogram_timedelta(
            f"{_PREFIX}_delivery_duration", "Time that a delivery waited for its events' verdicts"
        )
        self._attempt = meter.create_histogram_timedelta(
            "durable_jobs_attempt_duration", "Time of an attempt of a handler"
        )

    def attempted(self, request: RunRequest, outcome: AttemptOutcome, seconds: float) -> None:
        """An attempt of a handler ended."""
        labels = {
            "job_type": request.job_type,
            "job_name": request.job,
            "handler": request.handler,
            "outcome": outcome,
        }
        self._attempt.record(timedelta(seconds=seconds), labels)

    def publish(self, sample: Sample, withheld: int) -> None:
        """Record what happened since the last sample; `withheld` counts failed `before_send`s."""
        for name, total in {**sample.counts, "withheld": withheld}.items():
            if (counter := self._counters.get(name)) is not None:
                counter.add(total - self._published.get(name, 0))
                self._published[name] = total
        self._pending.set(sample.pending)
        self._oldest.set(sample.oldest.total_seconds())
        for histogram, seconds in (
            (self._request, sample.timings.requests),
            (self._delivery, sample.timings.deliveries),
        ):
            while seconds:
                histogram.record(timedelta(seconds=seconds.popleft()))
