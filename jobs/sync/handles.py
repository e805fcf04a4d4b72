"""Blocking handles. Each method has the arguments, the answer and the errors of its async twin."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Generic

from typing_extensions import TypeVar

from ..handles import ContinuousHandle, DebounceHandle, TaskHandle, WorkerPoolHandle
from ..handles.base import Handle
from ..handles.limits import ANSWER_TIME, ERASE_TIME
from ..schedule import Schedule
from ..status import AddReceipt, EraseReceipt, JobStatus, StartReceipt, WorkerPoolStatus
from .background import Wait, wait

Event = TypeVar("Event")
State = TypeVar("State")
Reply = TypeVar("Reply", default=None)


class SyncHandle(Generic[State]):
    """One instance of one job. Cheap to make; nothing is sent before a method is called.

    `wait` makes a call and blocks until it is done.
    """

    def __init__(self, handle: Handle[State], wait: Wait = wait) -> None:
        self._instance = handle
        self._wait = wait
        self.job_name: str = handle.job_name
        self.instance_id: str = handle.instance_id
        self.key: str = handle.key

    def pause(self, note: str | None = None) -> bool:
        """Start nothing new until `resume`. False where no instance is alive."""
        return self._wait(self._instance.pause(note))

    def resume(self, note: str | None = None) -> bool:
        """Go on after `pause`. False where no instance is alive."""
        return self._wait(self._instance.resume(note))

    def terminate(self, reason: str | None = None) -> bool:
        """End the instance; what waits is dropped and counted. False where none is alive."""
        return self._wait(self._instance.terminate(reason))

    def status(self, timeout: timedelta = ANSWER_TIME) -> JobStatus | None:
        """What the instance does, or did at its end. None where there never was one."""
        return self._wait(self._instance.status(timeout))

    def state(self, timeout: timedelta = ANSWER_TIME) -> State | None:
        """The state, or the last one of an ended instance. None where there never was one."""
        return self._wait(self._instance.state(timeout))

    def erase(self, timeout: timedelta = ERASE_TIME) -> EraseReceipt:
        """End the instance and delete all that Temporal has of it, for good.

        Waits for its end and then for its tracking events, `timeout` for each, and until Temporal
        has deleted it, which takes some 35 s.
        """
        return self._wait(self._instance.erase(timeout))


class SyncDebounceHandle(SyncHandle[State], Generic[Event, State]):
    """Adds events to an instance and controls it: a `DebounceHandle` that blocks."""

    def __init__(self, handle: DebounceHandle[Event, State], wait: Wait = wait) -> None:
        super().__init__(handle, wait)
        self._handle = handle

    def add(self, event: Event, id: str | None = None) -> None:  # noqa: A002
        """Add an event; returns once it is durable in Temporal.

        An event whose `id` was seen in the window is dropped.
        """
        self._wait(self._handle.add(event, id))

    def add_many(self, events: Iterable[Event], ids: Iterable[str | None] | None = None) -> None:
        """Add many events, in order; returns once all are durable. `ids` are theirs, one each."""
        self._wait(self._handle.add_many(events, ids))

    def add_confirmed(
        self,
        event: Event,
        id: str | None = None,  # noqa: A002
        timeout: timedelta = ANSWER_TIME,
    ) -> AddReceipt:
        """Add an event and hear what the instance made of it."""
        return self._wait(self._handle.add_confirmed(event, id, timeout))

    def flush(self) -> bool:
        """Flush what waits now, also when paused. False where no instance is alive."""
        return self._wait(self._handle.flush())

    def clear(self) -> bool:
        """Drop what waits and end the instance. False where no instance is alive."""
        return self._wait(self._handle.clear())


class SyncContinuousHandle(SyncHandle[State]):
    """Starts an instance and controls it: a `ContinuousHandle` that blocks."""

    def __init__(self, handle: ContinuousHandle[State], wait: Wait = wait) -> None:
        super().__init__(handle, wait)
        self._handle = handle

    def start(self, state: State | None = None) -> StartReceipt:
        """Start the instance, from `state` or the job's initial one.

        Starting a live one changes nothing.
        """
        return self._wait(self._handle.start(state))

    def trigger(self) -> bool:
        """Run once now; while a run is under way, once more after it. False where none lives."""
        return self._wait(self._handle.trigger())

    def reschedule(self, schedule: Schedule | None) -> bool:
        """Give this instance a schedule of its own; None: the job's own again."""
        return self._wait(self._handle.reschedule(schedule))


class SyncTaskHandle(SyncHandle[State], Generic[Event, State, Reply]):
    """Sends events to an instance, asks it, and controls it: a `TaskHandle` that blocks."""

    def __init__(self, handle: TaskHandle[Event, State, Reply], wait: Wait = wait) -> None:
        super().__init__(handle, wait)
        self._handle = handle

    def send(self, event: Event, id: str | None = None) -> None:  # noqa: A002
        """Send an event; returns once it is durable in Temporal.

        An event whose `id` the instance saw among its last 500 is dropped.
        """
        self._wait(self._handle.send(event, id))

    def ask(
        self,
        event: Event,
        id: str | None = None,  # noqa: A002
        timeout: timedelta = timedelta(seconds=30),
    ) -> Reply:
        """Send an event and wait for what `on_event` returns."""
        return self._wait(self._handle.ask(event, id, timeout))

    def trigger(self) -> bool:
        """Run `execute` once now. False where no instance is alive."""
        return self._wait(self._handle.trigger())

    def redrive(
        self,
        id: str | None = None,  # noqa: A002
        timeout: timedelta = ANSWER_TIME,
    ) -> int:
        """Queue the events that were set aside again, or the one with this id.

        Returns how many there were.
        """
        return self._wait(self._handle.redrive(id, timeout))


class SyncWorkerPoolHandle(Generic[Event]):
    """Queues events for a pool and controls its instances: a `WorkerPoolHandle` that blocks.

    What controls it concerns all instances, or the one of an `index`.
    """

    def __init__(self, handle: WorkerPoolHandle[Event], wait: Wait = wait) -> None:
        self._handle = handle
        self._wait = wait
        self.concurrency: int = handle.concurrency
        self.job_name: str = handle.job_name

    def enqueue(
        self,
        event: Event,
        partition_key: str | None = None,
        id: str | None = None,  # noqa: A002
        priority: int = 0,
    ) -> None:
        """Queue an event; returns once it is durable in Temporal.

        Events of one partition key go to one instance, which handles them in order.
        """
        self._wait(self._handle.enqueue(event, partition_key, id, priority))

    def enqueue_many(
        self,
        events: Iterable[Event],
        partition_key: str | None = None,
        ids: Iterable[str | None] | None = None,
        priority: int = 0,
    ) -> None:
        """Queue many events, in order; returns once all are durable. `ids` are theirs, one each."""
        self._wait(self._handle.enqueue_many(events, partition_key, ids, priority))

    def status(self, timeout: timedelta = ANSWER_TIME) -> WorkerPoolStatus:
        """What all instances do, in one answer."""
        return self._wait(self._handle.status(timeout))

    def pause(self, note: str | None = None, *, index: int | None = None) -> bool:
        """Begin no further event until `resume`; what is queued meanwhile waits. Always True."""
        return self._wait(self._handle.pause(note, index=index))

    def resume(self, note: str | None = None, *, index: int | None = None) -> bool:
        """Go on after `pause`. False where no instance is alive."""
        return self._wait(self._handle.resume(note, index=index))

    def trigger(self, *, index: int | None = None) -> bool:
        """Handle the next event now, also where paused. False where no instance is alive."""
        return self._wait(self._handle.trigger(index=index))

    def drain(self, *, index: int | None = None) -> bool:
        """Work off what waits and what still comes, then end. False where none is alive."""
        return self._wait(self._handle.drain(index=index))

    def clear(self, *, index: int | None = None, timeout: timedelta = ANSWER_TIME) -> int:
        """Drop the events that wait; failed ones stay. Returns how many there were."""
        return self._wait(self._handle.clear(index=index, timeout=timeout))

    def redrive(
        self,
        id: str | None = None,  # noqa: A002
        *,
        index: int | None = None,
        timeout: timedelta = ANSWER_TIME,
    ) -> int:
        """Queue the events that failed for good again, or the one with this id.

        Returns how many there were.
        """
        return self._wait(self._handle.redrive(id, index=index, timeout=timeout))

    def terminate(self, reason: str | None = None, *, index: int | None = None) -> bool:
        """End the instances; what waits is dropped and counted. False where none is alive."""
        return self._wait(self._handle.terminate(reason, index=index))

    def erase(
        self, *, index: int | None = None, timeout: timedelta = ERASE_TIME
    ) -> tuple[EraseReceipt, ...]:
        """End the instances and delete all that Temporal has of them, for good.

        Gives a receipt for each of which there was something.
        """
        return self._wait(self._handle.erase(index=index, timeout=timeout))
