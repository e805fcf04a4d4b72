"""The client for code without an event loop: threads, Django, Flask, Celery, scripts."""

from .client import SyncJobClient
from .handles import (
    SyncContinuousHandle,
    SyncDebounceHandle,
    SyncTaskHandle,
    SyncWorkerPoolHandle,
)

__all__ = [
    "SyncContinuousHandle",
    "SyncDebounceHandle",
    "SyncJobClient",
    "SyncTaskHandle",
    "SyncWorkerPoolHandle",
]
