"""A user's program: `make types` reads it by pyright, `.ci/run` by mypy against the wheel."""

from datetime import timedelta
from typing import assert_type

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Cron,
    DebounceJob,
    DebounceRun,
    JobClient,
    JobStatus,
    SyncJobClient,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
    run_worker,
)


class Digest(DebounceJob[str, list[str]]):
    name = "digest"
    flush_after = timedelta(seconds=5)

    def reduce(self, state: list[str] | None, event: str) -> list[str]:
        return [*(state or []), event]

    async def execute(self, run: DebounceRun[list[str]]) -> None:
        assert_type(run.state, list[str])


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Cron("*/5 * * * *")

    def initial_state(self, key: str) -> int:
        return len(key)

    def execute(self, run: ContinuousRun[int]) -> None:
        run.state += 1


class Triage(TaskJob[str, list[str], int]):
    name = "triage"

    def initial_state(self, key: str) -> list[str]:
        return [key]

    async def on_event(self, run: TaskRun[list[str]], event: str) -> int:
        run.state.append(event)
        await run.jobs.debounce(Digest, run.key).add(event)
        return len(run.state)

    async def execute(self, run: TaskRun[list[str]]) -> None:
        run.terminate("done")


class Deliver(WorkerPoolJob[bytes]):
    name = "deliver"
    concurrency = 5

    async def execute(self, run: WorkerPoolRun[bytes]) -> None:
        assert_type(run.event, bytes)


async def calls(jobs: JobClient) -> None:
    await jobs.debounce(Digest, "alice").add("hello")
    assert_type(await jobs.task(Triage, "alice").ask("hello"), int)
    assert_type(await jobs.continuous(Poll, "alice").state(), int | None)
    await jobs.worker_pool(Deliver).enqueue(b"hello")


def blocking_calls(jobs: SyncJobClient) -> None:
    assert_type(jobs.task(Triage, "alice").ask("hello"), int)
    assert_type(jobs.debounce(Digest, "alice").status(), JobStatus | None)


async def worker() -> None:
    await run_worker([Digest(), Poll(), Triage(), Deliver()])
