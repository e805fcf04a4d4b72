"""Logs of the commands: one format on stderr, for the Temporal SDK's own core as well."""

import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper


class LogLevel(StrEnum):
    """How much the worker says."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def moment(time: datetime) -> str:
    """A time as each line of output begins with it: local, to the millisecond."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return moment(datetime.fromtimestamp(record.created, UTC))


def print_at_once() -> None:
    """Write what is printed at the end of its line, into a pipe or file as on a terminal."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportUnknownMemberType]


def start_logging(level: LogLevel) -> None:
    """Write records of `level` and above to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
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
