"""What a type checker says of the blocking client: `make types` reads this file, no test runs it.

Each ignore below stands for an error that must be there: one that is not needed is an error.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from durable_jobs import (
    AddReceipt,
    ContinuousJob,
    DebounceJob,
    JobStatus,
    StartReceipt,
    SyncJobClient,
    TaskJob,
    WorkerPoolJob,
    WorkerPoolStatus,
)


def debounce(jobs: SyncJobClient, job: type[DebounceJob[str, list[int]]]) -> None:
    handle = jobs.debounce(job, "key")
    handle.add("event", id="1")
    handle.add_many(["event"])
    handle.add(1)  # pyright: ignore[reportArgumentType]
    assert_type(handle.add_confirmed("event"), AddReceipt)
    assert_type(handle.state(), list[int] | None)
    assert_type(handle.status(), JobStatus | None)
    assert_type(handle.flush(), bool)
    assert_type(handle.key, str)


def continuous(jobs: SyncJobClient, job: type[ContinuousJob[float]]) -> None:
    handle = jobs.continuous(job, "key")
    assert_type(handle.start(1.0), StartReceipt)
    handle.start("now")  # pyright: ignore[reportArgumentType]
    assert_type(handle.state(), float | None)


def task(jobs: SyncJobClient, job: type[TaskJob[str, int, float]]) -> None:
    handle = jobs.task(job, "key")
    handle.send(b"event")  # pyright: ignore[reportArgumentType]
    assert_type(handle.ask("event"), float)
    assert_type(handle.redrive(), int)


def worker_pool(jobs: SyncJobClient, job: type[WorkerPoolJob[str]]) -> None:
    handle = jobs.worker_pool(job)
    handle.enqueue("event", partition_key="key")
    handle.enqueue(1)  # pyright: ignore[reportArgumentType]
    assert_type(handle.status(), WorkerPoolStatus)


def connect() -> None:
    with SyncJobClient.connect() as jobs:
        assert_type(jobs, SyncJobClient)
    assert_type(SyncJobClient.connect(lazy=True), SyncJobClient)
