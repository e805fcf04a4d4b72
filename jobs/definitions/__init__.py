"""Job definitions: the classes that users write.

One module per job type, each with its job class and its run object; what they share beside them.
"""

from .base import Job
from .continuous import ContinuousJob, ContinuousRun
from .debounce import DebounceJob, DebounceRun
from .reducers import collect
from .task import RunFailure, TaskJob, TaskRun
from .worker_pool import WorkerPoolJob, WorkerPoolRun

__all__ = [
    "ContinuousJob",
    "ContinuousRun",
    "DebounceJob",
    "DebounceRun",
    "Job",
    "RunFailure",
    "TaskJob",
    "TaskRun",
    "WorkerPoolJob",
    "WorkerPoolRun",
    "collect",
]
