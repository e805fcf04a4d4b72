"""Handles for tests that are no coroutines."""

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

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


class Handles(ABC):
    """Makes handles whose methods block, as those of a `SyncJobClient`."""

    jobs: JobClient

    @abstractmethod
    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call, and block until it is done."""

    @abstractmethod
    def close(self) -> None:
        """End what is under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
