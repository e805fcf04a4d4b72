"""Logs of the commands: one format on stderr, for the Temporal SDK's own core as well."""

import logging
from enum import StrEnum


class LogLevel(StrEnum):
    """How much the worker says."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def start_logging(level: LogLevel) -> None:
    """Write records of `level` and above to stderr."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if level is not LogLevel.debug:
        # One line per request or per shutdown step, which says nothing that ours do not say.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("temporalio.worker").setLevel(logging.WARNING)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def forward_core_logs() -> None:
    """Let the SDK's core log through `logging`, not in its own format and colours.

    To be called before the first client is made.
    """
    from temporalio.runtime import Runtime, TelemetryConfig

    from ..telemetry import core_logs

    telemetry = TelemetryConfig(logging=core_logs())
    Runtime.set_default(Runtime(telemetry=telemetry), error_if_already_set=False)
