"""Threads of plain handlers, without a server: their reuse, their cancellation, their end."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from durable_jobs.definitions import threads
from durable_jobs.definitions.threads import in_thread
from tests.support import PATIENCE, Python, eventually


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What handlers that hear of nothing wait for; the test's end lets them go."""
    monkeypatch.setattr(threads, "GRACE_SECONDS", 0.05)
    let_go = threading.Event()
    yield let_go
    let_go.set()


async def given_up(blocked: threading.Event, count: int) -> None:
    """So many calls that are cancelled while they wait in C code."""
    begun = threading.Semaphore(0)

    def block() -> None:
        begun.release()
        blocked.wait()

    calls = [asyncio.create_task(in_thread(block)) for _ in range(count)]
    for _ in calls:
        await asyncio.to_thread(begun.acquire)
    for call in calls:
        call.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)


async def test_threads_left_behind_keep_no_other_handler_from_running(
    blocked: threading.Event,
) -> None:
    await given_up(blocked, 150)
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*(in_thread(pow, 2, n) for n in range(100))) == [
            2**n for n in range(100)
        ]


async def test_a_thread_left_behind_is_told_of_by_the_name_of_its_handler(
    blocked: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    await given_up(blocked, 1)
    [told] = [record.getMessage() for record in caplog.records]
    assert "given_up.<locals>.block did not end when cancelled" in told


async def test_what_comes_of_a_thread_left_behind_reaches_nobody(
    blocked: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    begun, done = threading.Event(), threading.Event()

    def fail_late() -> None:
        begun.set()
        try:
            blocked.wait()
            raise ValueError("too late")
        finally:
            done.set()

    call = asyncio.create_task(in_thread(fail_late))
    await eventually(begun.is_set)
    call.cancel()
    await asyncio.wait({call})
    blocked.set()
    await eventually(done.is_set)
    await asyncio.sleep(0.01)
    gc.collect()
    assert call.cancelled()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_calls_one_after_another_share_a_thread_and_what_it_holds() -> None:
    held = threading.local()

    def count() -> int:
        held.calls = getattr(held, "calls", 0) + 1
        return held.calls

    await in_thread(count)
    # Earlier tests may have left several idle threads, which take turns.
    assert await eventually(lambda: _more_than_one(count))


async def _more_than_one(count: object) -> bool:
    assert callable(count)
    return await in_thread(count) > 1


async def test_an_idle_thread_keeps_nothing_of_its_last_call() -> None:
    class Large:
        """Stands for a state."""

    large = Large()
    gone = weakref.ref(large)
    await in_thread(lambda given: None, large)
    del large

    def collected() -> bool:
        gc.collect()
        return gone() is None

    assert await eventually(collected)


async def test_an_interpreter_does_not_wait_for_a_thread_left_behind() -> None:
    program = """
        import asyncio, time
        from durable_jobs.definitions import threads

        threads.GRACE_SECONDS = 0.05

        async def main():
            call = asyncio.create_task(threads.in_thread(time.sleep, 300))
            await asyncio.sleep(0.05)
            call.cancel()
            await asyncio.wait({call})

        asyncio.run(main())
        print("ended")
    """
    with Python.code(program) as process:
        assert await process.exit_code() == 0
        assert "ended" in process.text


async def test_a_call_that_fails_or_stops_an_iteration_fails_its_caller_alone() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)
    with pytest.raises(threads.ThreadError) as failure:
        await in_thread(lambda: next(iter(())))
    assert isinstance(failure.value.__cause__, StopIteration)
    assert await in_thread(lambda: 7) == 7
