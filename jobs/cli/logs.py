"""Logs of the commands: one format on stderr, for the Temporal SDK's own core as well."""

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper

from ..logs import JOB_LOGGERS, fields_at_hand

logger: logging.Logger = logging.getLogger(__name__)


class LogLevel(StrEnum):
    """How much the worker says."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    """How a line looks."""

    text = "text"
    json = "json"


def moment(time: datetime) -> str:
    """A time as each line of output begins with it: local, to the millisecond."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


class _WithAttempt(logging.Filter):
    """Gives each line of an attempt its fields, whichever logger wrote it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "instance_id"):
            record.__dict__.update(fields_at_hand())
        return True


class TextFormatter(logging.Formatter):
    """Time, level, who, and the message."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """See base class."""
        return moment(datetime.fromtimestamp(record.created, UTC))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """See base class."""
        return f"{record.asctime} {record.levelname} {_who(record)}: {record.message}"

    def usesTime(self) -> bool:  # noqa: N802
        """See base class."""
        return True


def _who(record: logging.LogRecord) -> str:
    fields = record.__dict__
    if "instance_id" not in fields:
        return record.name
    run = f"{fields['instance_id']} run {fields['run_count']} attempt {fields['attempt']}"
    # A job's own logger says no more than the instance does.
    return run if record.name.startswith(f"{JOB_LOGGERS}.") else f"{record.name} [{run}]"


_OF_AN_ATTEMPT = {
    "instance": "instance_id",
    "job": "job_name",
    "key": "key",
    "handler": "handler",
    "run": "run_count",
    "attempt": "attempt",
}


class JsonFormatter(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See base class."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = record.__dict__
        shown = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: fields[source] for name, source in _OF_AN_ATTEMPT.items() if source in fields},
        }
        if record.exc_info:
            shown["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            shown["stack"] = record.stack_info
        return json.dumps(shown, ensure_ascii=False, default=str)


def print_at_once() -> None:
    """Write what is printed at the end of its line, into a pipe or file as on a terminal."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True)
class Levels:
    """From which level on lines are written: those of all, and those of single jobs."""

    level: LogLevel = LogLevel.info
    of_jobs: Mapping[str, LogLevel] = field(default_factory=dict[str, LogLevel])


def read_levels(words: Sequence[str]) -> Levels:
    """Levels as options give them: `info`, `poll=debug`. Raises ValueError."""
    level, of_jobs = LogLevel.info, dict[str, LogLevel]()
    for word in words:
        job, equals, name = word.rpartition("=")
        if name not in list(LogLevel) or bool(job) != bool(equals):
            known = ", ".join(LogLevel)
            raise ValueError(f"{word!r} is no level; give one of {known}, or poll=debug for a job")
        if job:
            of_jobs[job] = LogLevel(name)
        else:
            level = LogLevel(name)
    return Levels(level, of_jobs)


def start_logging(level: LogLevel, *, form: LogFormat = LogFormat.text) -> None:
    """Write records of `level` and above to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form is LogFormat.json else TextFormatter())
    handler.addFilter(_WithAttempt())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    if level is not LogLevel.debug:
        # One line per request or per shutdown step, which says nothing that ours do not say.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("temporalio.worker").setLevel(logging.WARNING)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def set_levels_of_jobs(levels: Levels, known: Iterable[str]) -> None:
    """Have single jobs say more, or less, by `run.logger` than the rest.

    A name that no job has is told of and left: one variable may serve workers of several kinds.
    """
    names = list(known)
    for job, level in levels.of_jobs.items():
        if job not in names:
            logger.warning("--log-level: this worker has no job %r; it has %s", job,
                           ", ".join(names))  # fmt: skip
        logging.getLogger(f"{JOB_LOGGERS}.{job}").setLevel(level.upper())


def forward_core_logs() -> None:
    """Let the SDK's core log through `logging`, not in its own format and colours.

    To be called before the first client is made.
    """
    from temporalio.runtime import Runtime, TelemetryConfig

    from ..telemetry import core_logs

    telemetry = TelemetryConfig(logging=core_logs())
    Runtime.set_default(Runtime(telemetry=telemetry), error_if_already_set=False)
