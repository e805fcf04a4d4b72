"""Handles for tests that are no coroutines."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from durable_jobs.client import JobClient
from durable_jobs.definitions import ContinuousJob, DebounceJob, TaskJob, WorkerPoolJob
from durable_jobs.sync import (
    SyncContinuousHandle,
    SyncDebounceHandle,
    SyncTaskHandle,
    SyncWorkerPoolHandle,
)

Event = TypeVar("Event")
State = TypeVar("State")
Reply = TypeVar("Reply")
T = TypeVar("T")


class Handles:
    """Makes handles whose methods block, as those of a `SyncJobClient`."""

    jobs: JobClient

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call, and block until it is done."""
        raise NotImplementedError

    def debounce(
        self, job: type[DebounceJob[Event, State]], key: str
    ) -> SyncDebounceHandle[Event, State]:
        """The handle of a debounce instance. Raises as that of `JobClient`."""
        return SyncDebounceHandle(self.jobs.debounce(job, key), self.run)

    def continuous(self, job: type[ContinuousJob[State]], key: str) -> SyncContinuousHandle[State]:
        """The handle of a continuous instance. Raises as that of `JobClient`."""
        return SyncContinuousHandle(self.jobs.continuous(job, key), self.run)

    def task(
        self, job: type[TaskJob[Event, State, Reply]], key: str
    ) -> SyncTaskHandle[Event, State, Reply]:
        """The handle of a task instance. Raises as that of `JobClient`."""
        return SyncTaskHandle(self.jobs.task(job, key), self.run)

    def worker_pool(self, job: type[WorkerPoolJob[Event]]) -> SyncWorkerPoolHandle[Event]:
        """The handle of a worker pool. Raises as that of `JobClient`."""
        return SyncWorkerPoolHandle(self.jobs.worker_pool(job), self.run)
