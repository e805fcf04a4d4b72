"""Makes blocking handles: for the blocking client, and for tests that are no coroutines."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self, TypeVar

from ..client import JobClient
from ..definitions import ContinuousJob, DebounceJob, TaskJob, WorkerPoolJob
from .background import Wait
from .handles import (
    SyncContinuousHandle,
    SyncDebounceHandle,
    SyncTaskHandle,
    SyncWorkerPoolHandle,
)

Event = TypeVar("Event")
State = TypeVar("State")
Reply = TypeVar("Reply")


class MakesHandles(ABC):
    """Makes handles whose methods block, and is closed at the end of a `with` block."""

    @abstractmethod
    def _calls(self) -> tuple[JobClient, Wait]:
        """The client, and what makes one of its calls and blocks until it is done."""

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
        jobs, wait = self._calls()
        return SyncDebounceHandle(jobs.debounce(job, key), wait)

    def continuous(self, job: type[ContinuousJob[State]], key: str) -> SyncContinuousHandle[State]:
        """The handle of a continuous instance. Raises as that of `JobClient`."""
        jobs, wait = self._calls()
        return SyncContinuousHandle(jobs.continuous(job, key), wait)

    def task(
        self, job: type[TaskJob[Event, State, Reply]], key: str
    ) -> SyncTaskHandle[Event, State, Reply]:
        """The handle of a task instance. Raises as that of `JobClient`."""
        jobs, wait = self._calls()
        return SyncTaskHandle(jobs.task(job, key), wait)

    def worker_pool(self, job: type[WorkerPoolJob[Event]]) -> SyncWorkerPoolHandle[Event]:
        """The handle of a worker pool. Raises as that of `JobClient`."""
        jobs, wait = self._calls()
        return SyncWorkerPoolHandle(jobs.worker_pool(job), wait)
