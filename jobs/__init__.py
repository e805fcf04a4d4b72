"""Durable debounced, recurring and per-entity jobs on Temporal.

What users import: job definitions, schedules, retry, the client, the plugin and the worker.
"""

from .client import JobClient
from .connection import InvalidSettings
from .definitions import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    RunFailure,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
    collect,
)
from .errors import (
    Busy,
    DefinitionError,
    InvalidArgument,
    InvalidEvent,
    InvalidKey,
    InvalidState,
    JobFailed,
    JobsError,
    NonRetryable,
    NoReply,
    NoWorker,
    PayloadTooLarge,
    RetryAfter,
    Snooze,
    StateMismatch,
    TemporalUnreachable,
)
from .plugin import JobsPlugin
from .retry import Retry
from .schedule import Cron, Every
from .status import AddReceipt, JobStatus, Progress, StartReceipt
from .worker import run_worker

__all__ = [
    "AddReceipt",
    "Busy",
    "ContinuousJob",
    "ContinuousRun",
    "Cron",
    "DebounceJob",
    "DebounceRun",
    "DefinitionError",
    "Every",
    "InvalidArgument",
    "InvalidEvent",
    "InvalidKey",
    "InvalidSettings",
    "InvalidState",
    "JobClient",
    "JobFailed",
    "JobStatus",
    "JobsError",
    "JobsPlugin",
    "NoReply",
    "NoWorker",
    "NonRetryable",
    "PayloadTooLarge",
    "Progress",
    "Retry",
    "RetryAfter",
    "RunFailure",
    "Snooze",
    "StartReceipt",
    "StateMismatch",
    "TaskJob",
    "TaskRun",
    "TemporalUnreachable",
    "WorkerPoolJob",
    "WorkerPoolRun",
    "collect",
    "run_worker",
]
