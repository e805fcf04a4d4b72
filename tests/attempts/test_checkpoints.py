"""What a run keeps for its next attempt: checkpoints and progress."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    JobClient,
    PayloadTooLarge,
    Progress,
    RetryAfter,
    TaskJob,
    TaskRun,
)
from durable_jobs.handles.base import Handle
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import QUICK, at_most, new_key, running_worker, status_of, until_status
from tests.support.lives import histories_of

PAGES = 4
HOUR = timedelta(hours=1)


class Pages:
    """Fetches page after page, and fails at the third until told otherwise."""

    def __init__(self, fail: Callable[[Any], None]) -> None:
        self.fail = fail
        self.fetched: list[tuple[int, int]] = []
        self.progress: list[Progress | None] = []

    async def fetch(self, run: Any) -> None:
        """Fetch what the state says is missing."""
        self.progress.append(run.last_progress)
        run.state = run.state or []
        while len(run.state) < PAGES:
            page = len(run.state) + 1
            self.fetched.append((run.attempt, page))
            if page == 3:
                self.fail(run)
            run.state = [*run.state, page]
            run.progress(page, PAGES, f"page {page}")
            await run.checkpoint()

    @property
    def pages(self) -> list[int]:
        return [page for _, page in self.fetched]


class PagesTask(TaskJob[int, list[int]]):
    name = "pages-task"
    retry = QUICK

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def on_event(self, run: TaskRun[list[int]], event: int) -> None:
        await self._pages.fetch(run)

    async def execute(self, run: TaskRun[list[int]]) -> None:
        """No handler sets the alarm."""


class PagesPoll(ContinuousJob[list[int]]):
    name = "pages-poll"
    schedule = Every(HOUR)
    retry = at_most(1_000)

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def execute(self, run: ContinuousRun[list[int]]) -> None:
        await self._pages.fetch(run)


class PagesDigest(DebounceJob[int, list[int]]):
    name = "pages-digest"
    flush_after = timedelta(milliseconds=1)
    retry = QUICK

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def reduce(self, state: list[int] | None, event: int) -> list[int]:
        return state or []

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        await self._pages.fetch(run)


async def begin(jobs: JobClient, job: Any) -> Handle[Any]:
    """One run of a job."""
    if job is PagesTask:
        task = jobs.task(PagesTask, new_key())
        await task.send(1)
        return task
    if job is PagesPoll:
        poll = jobs.continuous(PagesPoll, new_key())
        await poll.start()
        return poll
    digest = jobs.debounce(PagesDigest, new_key())
    await digest.add(1)
    return digest


async def rested(handle: Handle[Any]) -> Any:
    """The state, once the run is over."""

    async def over() -> bool:
        return (await status_of(handle)).status in ("idle", "scheduled", "completed")

    await eventually(over)
    return await handle.state()


ALL = [PagesTask, PagesPoll, PagesDigest]


@pytest.mark.parametrize("job", ALL)
async def test_the_next_attempt_goes_on_from_the_checkpoint(
    client: Client, queue: str, job: Any
) -> None:
    def fail(run: Any) -> None:
        if run.attempt < 3:
            run.state.append("never kept")
            raise ValueError("not yet")

    pages = Pages(fail)
    async with running_worker(client, queue, job(pages)) as jobs:
        handle = await begin(jobs, job)
        assert await rested(handle) == [1, 2, 3, 4]
    assert pages.fetched == [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 4)]
    said = Progress(2, PAGES, "page 2")
    assert pages.progress == [None, said, said]


@pytest.mark.parametrize("job", ALL)
async def test_a_checkpoint_and_the_progress_are_carried_by_continue_as_new(
    client: Client, queue: str, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 10)

    def fail(run: Any) -> None:
        if run.attempt == 1:
            raise RetryAfter(timedelta(seconds=2), "not yet")

    pages = Pages(fail)
    async with running_worker(client, queue, job(pages)) as jobs:
        handle = await begin(jobs, job)
        await until_status(handle, "retrying")
        raw = client.get_workflow_handle(handle.instance_id)
        await asyncio.gather(*(raw.signal("no such verb") for _ in range(15)))
        await eventually(lambda: _many(client, queue))
        status = await status_of(handle)
        assert (status.status, status.progress) == ("retrying", Progress(2, PAGES, "page 2"))
        assert await rested(handle) == [1, 2, 3, 4]
    assert pages.fetched == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4)]


async def _many(client: Client, queue: str) -> bool:
    return len(await histories_of(client, queue)) > 1


async def test_an_attempt_cut_off_by_its_workers_shutdown_leaves_its_checkpoint(
    client: Client, queue: str
) -> None:
    here = asyncio.Event()

    class Held(PagesTask):
        async def on_event(self, run: TaskRun[list[int]], event: int) -> None:
            run.state = [1, 2, 3]
            run.progress(3)
            await run.checkpoint()
            here.set()
            await asyncio.Event().wait()

    first, second = Pages(lambda run: None), Pages(lambda run: None)
    async with running_worker(client, queue, Held(first)) as jobs:
        task = jobs.task(Held, new_key())
        await task.send(1)
        await here.wait()
    async with running_worker(client, queue, PagesTask(second)):
        assert await rested(task) == [1, 2, 3, 4]
    assert second.fetched == [(1, 4)]
    assert second.progress == [Progress(3)]


async def test_after_a_final_failure_the_state_is_what_it_was_before_the_run(
    client: Client, queue: str
) -> None:
    class Limited(PagesTask):
        retry = at_most(2)

    def fail(run: Any) -> None:
        raise ValueError("never")

    pages = Pages(fail)
    async with running_worker(client, queue, Limited(pages)) as jobs:
        task = jobs.task(Limited, new_key())
        await task.send(1)
        await eventually(lambda: len(pages.fetched) == 4)
        assert await rested(task) == []
        assert len((await status_of(task)).failed_events) == 1
        pages.fail = lambda run: None
        await task.redrive()
        await eventually(lambda: pages.pages[4:] == [1, 2, 3, 4])
        await rested(task)
        await task.terminate()


async def test_an_event_of_a_burst_goes_on_from_its_own_checkpoint(
    client: Client, queue: str
) -> None:
    class Burst(TaskJob[int, list[int]]):
        name = "burst-with-checkpoints"
        retry = QUICK

        def __init__(self) -> None:
            self.seen: list[tuple[int, int, list[int]]] = []
            self.hold = asyncio.Event()

        async def on_event(self, run: TaskRun[list[int]], event: int) -> None:
            self.seen.append((event, run.attempt, list(run.state)))
            await self.hold.wait()
            if not run.is_retry:
                run.state.append(event)
                await run.checkpoint()
            if event == 2 and run.attempt < 3:
                raise ValueError("not yet")

        async def execute(self, run: TaskRun[list[int]]) -> None:
            """No handler sets the alarm."""

    job = Burst()
    async with running_worker(client, queue, job) as jobs:
        task = jobs.task(Burst, new_key())
        await task.send(0)
        await eventually(lambda: job.seen)
        await asyncio.gather(*(task.send(number) for number in range(1, 4)))
        job.hold.set()
        assert await eventually(lambda: job.seen[5:]) == [(3, 1, [0, 1, 2])]
        assert await rested(task) == [0, 1, 2, 3]
        await task.terminate()
    assert job.seen[2:5] == [(2, 1, [0, 1]), (2, 2, [0, 1, 2]), (2, 3, [0, 1, 2])]


async def test_a_plain_handler_keeps_a_checkpoint_from_its_thread(
    client: Client, queue: str
) -> None:
    class Plain(TaskJob[int, list[int]]):
        name = "plain-with-checkpoints"
        retry = QUICK

        def on_event(self, run: TaskRun[list[int]], event: int) -> None:
            run.state.append(run.attempt)
            run.progress(run.attempt)
            run.checkpoint_sync()
            if run.attempt < 3:
                raise ValueError("not yet")

        def execute(self, run: TaskRun[list[int]]) -> None:
            """No handler sets the alarm."""

    async with running_worker(client, queue, Plain()) as jobs:
        task = jobs.task(Plain, new_key())
        await task.send(1)
        assert await eventually(task.state) == [1, 2, 3]
        await task.terminate()


async def test_checkpoint_sync_in_a_coroutine_says_what_to_do(client: Client, queue: str) -> None:
    class Wrong(PagesTask):
        retry = at_most(1)

        async def on_event(self, run: TaskRun[list[int]], event: int) -> None:
            run.checkpoint_sync()

    async with running_worker(client, queue, Wrong(Pages(lambda run: None))) as jobs:
        task = jobs.task(Wrong, new_key())
        await task.send(1)
        status = await eventually(lambda: _failed(task))
        assert "await run.checkpoint()" in status.last_error
        await task.terminate()


async def test_a_checkpoint_over_the_limit_of_a_state_is_refused(
    client: Client, queue: str
) -> None:
    refused: list[PayloadTooLarge] = []

    class Large(TaskJob[int, str]):
        name = "large-checkpoint"

        async def on_event(self, run: TaskRun[str], event: int) -> None:
            run.state = "x" * 600_000
            try:
                await run.checkpoint()
            except PayloadTooLarge as error:
                refused.append(error)
                run.state = "small"

        async def execute(self, run: TaskRun[str]) -> None:
            """No handler sets the alarm."""

    async with running_worker(client, queue, Large()) as jobs:
        task = jobs.task(Large, new_key())
        await task.send(1)
        assert await eventually(task.state) == "small"
        await task.terminate()
    assert "524,288" in str(refused[0])


async def test_a_large_checkpoint_is_kept_over_failing_attempts(client: Client, queue: str) -> None:
    class Large(TaskJob[int, str]):
        name = "large-checkpoint"
        retry = QUICK

        async def on_event(self, run: TaskRun[str], event: int) -> None:
            run.state = (run.state or "x" * 500_000)[:-1]
            await run.checkpoint()
            if run.attempt < 4:
                raise ValueError("not yet")

        async def execute(self, run: TaskRun[str]) -> None:
            """No handler sets the alarm."""

    async with running_worker(client, queue, Large()) as jobs:
        task = jobs.task(Large, new_key())
        await task.send(1)
        assert len(await eventually(task.state) or "") == 500_000 - 4
        await task.terminate()


async def test_the_status_shows_the_progress_of_the_run_under_way(
    client: Client, queue: str
) -> None:
    class Slow(PagesTask):
        async def on_event(self, run: TaskRun[list[int]], event: int) -> None:
            run.progress(1, 2, "half")
            await end.wait()

    end = asyncio.Event()
    async with running_worker(client, queue, Slow(Pages(lambda run: None))) as jobs:
        task = jobs.task(Slow, new_key())
        await task.send(1)
        shown = await eventually(lambda: _progress(task))
        assert shown == Progress(1, 2, "half")
        end.set()
        await rested(task)
        assert (await status_of(task)).progress is None
        await task.terminate()


async def _progress(task: Handle[Any]) -> Progress | None:
    return (await status_of(task)).progress


async def _failed(task: Handle[Any]) -> Any:
    status = await status_of(task)
    return status if status.failed_events else None
