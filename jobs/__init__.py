"""Durable debounced, recurring and per-entity jobs on Temporal.

What users import: job definitions, schedules, retry, the client, the plugin and the worker.
What not every client needs is loaded when it is first used: clients start in half the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .client import JobClient
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
    InvalidSettings,
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
from .many.acting import BulkResult
from .retry import Retry
from .schedule import Cron, Every
from .status import AddReceipt, EraseReceipt, JobStatus, Progress, StartReceipt, WorkerPoolStatus

if TYPE_CHECKING:
    from .plugin import JobsPlugin
    from .sync import SyncJobClient
    from .worker import run_worker

_LOADED_LATE = {"JobsPlugin": ".plugin", "SyncJobClient": ".sync", "run_worker": ".worker"}

__all__ = [
    "AddReceipt",
    "BulkResult",
    "Busy",
    "ContinuousJob",
    "ContinuousRun",
    "Cron",
    "DebounceJob",
    "DebounceRun",
    "DefinitionError",
    "EraseReceipt",
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
    "SyncJobClient",
    "TaskJob",
    "TaskRun",
    "TemporalUnreachable",
    "WorkerPoolJob",
    "WorkerPoolRun",
    "WorkerPoolStatus",
    "collect",
    "run_worker",
]


def __getattr__(name: str) -> Any:
    module = _LOADED_LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(module, __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
