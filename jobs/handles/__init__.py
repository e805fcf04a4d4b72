"""Typed handles: what a client does with one instance.

One module per job type, and what they share in `base`.
"""

from .continuous import ContinuousHandle
from .debounce import DebounceHandle
from .task import TaskHandle
from .worker_pool import WorkerPoolHandle

__all__ = ["ContinuousHandle", "DebounceHandle", "TaskHandle", "WorkerPoolHandle"]
