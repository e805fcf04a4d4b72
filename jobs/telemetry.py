"""The SDK's own logs and metrics: where they go, with those of the jobs beside them."""

import logging
import socket
from functools import cache

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
)

from .errors import InvalidSettings

_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ATTEMPTS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_BUCKETS = {
    "durable_jobs_tracking_request_duration": _REQUESTS,
    "durable_jobs_tracking_delivery_duration": _REQUESTS,
    "durable_jobs_attempt_duration": _ATTEMPTS,
}


def core_logs() -> LoggingConfig:
    """Logs of the SDK's core through `logging`, not in its own format and colours."""
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    return LoggingConfig(filter=LoggingConfig.default.filter, forwarding=forwarding)


@cache
def serving_metrics(address: str) -> Runtime:
    """A runtime whose metrics are served at `http://{address}/metrics` until the process ends.

    The same one each time: there is no way to stop it. Its core logs through `logging`. Raises
    InvalidSettings where the address, `host:port`, is wrong or taken.
    """
    _check(address)
    metrics = PrometheusConfig(
        bind_address=address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=_BUCKETS,
    )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=core_logs(), metrics=metrics))
    except (ValueError, RuntimeError) as error:
        raise _wrong(address, error) from error


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of `host:port`; raises ValueError where it is none."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _check(address: str) -> None:
    """Bind once: the SDK says nothing of an address that it cannot serve at."""
    try:
        host, port = host_and_port(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, ValueError, OverflowError) as error:
        raise _wrong(address, error) from error


def _wrong(address: str, error: Exception) -> InvalidSettings:
    return InvalidSettings(
        f"Metrics cannot be served at {address!r} ({error}); "
        "expected is a free address such as 127.0.0.1:9464"
    )
