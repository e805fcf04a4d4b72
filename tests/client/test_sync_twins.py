"""The blocking client has each method of the async one, with the same signature and attributes."""

import inspect
import re
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    JobClient,
    SyncJobClient,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.handles import ContinuousHandle, DebounceHandle, TaskHandle, WorkerPoolHandle
from durable_jobs.sync import (
    SyncContinuousHandle,
    SyncDebounceHandle,
    SyncTaskHandle,
    SyncWorkerPoolHandle,
)

TWINS: list[tuple[type, type]] = [
    (JobClient, SyncJobClient),
    (ContinuousHandle, SyncContinuousHandle),
    (DebounceHandle, SyncDebounceHandle),
    (TaskHandle, SyncTaskHandle),
    (WorkerPoolHandle, SyncWorkerPoolHandle),
]
ONLY_SYNC = {"SyncJobClient.of"}


def methods(cls: type) -> dict[str, Any]:
    """The methods that are for users."""
    found = inspect.getmembers(cls, callable)
    return {
        name: method
        for name, method in found
        if not name.startswith("_") and "library's own" not in (method.__doc__ or "")
    }


def blocking(method: Any) -> str:
    """The signature of a method once it blocks; type variables and classes by their names."""
    signature = str(inspect.signature(method))
    signature = re.sub(r"Connecting\[(.*)\]", r"\1", signature)
    signature = signature.replace("AsyncIterator", "Iterator")
    return re.sub(r"(?:\w+\.)+(?:Sync)?(?=\w)", "", signature)


EACH_METHOD = [
    pytest.param(method, getattr(twin, name, None), id=f"{twin.__name__}.{name}")
    for cls, twin in TWINS
    for name, method in methods(cls).items()
]


@pytest.mark.parametrize(("method", "twin"), EACH_METHOD)
def test_each_method_has_a_blocking_twin_with_its_signature(method: Any, twin: Any) -> None:
    assert twin is not None, "add it to durable_jobs.sync"
    assert blocking(twin) == blocking(method)
    assert not inspect.iscoroutinefunction(twin)


@pytest.mark.parametrize(("cls", "twin"), TWINS)
def test_the_blocking_one_has_no_method_of_its_own_making(cls: type, twin: type) -> None:
    more = {f"{twin.__name__}.{name}" for name in methods(twin).keys() - methods(cls).keys()}
    assert more <= ONLY_SYNC


def test_both_clients_are_made_of_the_same() -> None:
    [*ours] = inspect.signature(SyncJobClient).parameters.values()
    theirs = inspect.signature(JobClient).parameters
    assert ours == [theirs[parameter.name] for parameter in ours]
    assert theirs.keys() - {parameter.name for parameter in ours} == {"once"}


def test_the_comparison_sees_a_method_that_differs() -> None:
    async def good(self: object, key: str, timeout: timedelta | None = None) -> int: ...
    def same(self: object, key: str, timeout: timedelta | None = None) -> int: ...
    def other_default(self: object, key: str, timeout: timedelta | None = timedelta()) -> int: ...
    def other_type(self: object, key: bytes, timeout: timedelta | None = None) -> int: ...
    def other_answer(self: object, key: str, timeout: timedelta | None = None) -> None: ...
    def keyword(self: object, key: str, *, timeout: timedelta | None = None) -> int: ...

    assert blocking(good) == blocking(same)
    for wrong in (other_default, other_type, other_answer, keyword):
        assert blocking(good) != blocking(wrong)


class Digest(DebounceJob[str]):
    name = "digest"
    flush_after = timedelta(seconds=1)

    async def execute(self, run: DebounceRun[str]) -> None: ...


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(timedelta(hours=1))

    async def execute(self, run: ContinuousRun[int]) -> None: ...


class Triage(TaskJob[str, int]):
    name = "triage"

    async def on_event(self, run: TaskRun[int], event: str) -> None: ...
    async def execute(self, run: TaskRun[int]) -> None: ...


class Deliver(WorkerPoolJob[str]):
    name = "deliver"
    concurrency = 2

    async def execute(self, run: WorkerPoolRun[str]) -> None: ...


async def nowhere() -> NoReturn:
    raise AssertionError("nothing is to be sent")


def test_handles_show_the_same_attributes() -> None:
    jobs, sync = JobClient(nowhere), SyncJobClient(nowhere)
    pairs = [
        (jobs.debounce(Digest, "k"), sync.debounce(Digest, "k")),
        (jobs.continuous(Poll, "k"), sync.continuous(Poll, "k")),
        (jobs.task(Triage, "k"), sync.task(Triage, "k")),
        (jobs.worker_pool(Deliver), sync.worker_pool(Deliver)),
    ]
    for handle, twin in pairs:
        shown = {name: value for name, value in vars(handle).items() if not name.startswith("_")}
        assert shown
        assert shown == {name: getattr(twin, name) for name in shown}
