"""The blocking client: the whole surface, from many threads, and where it refuses or is cut off."""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import (
    Every,
    InvalidArgument,
    InvalidEvent,
    JobClient,
    JobsError,
    SyncJobClient,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.definitions.threads import in_thread
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.sync.background import wait
from tests.client.sync_jobs import Letters, Meter, Pool, Thread
from tests.support import PATIENCE, Python, eventually
from tests.support.jobs import new_key, running_worker, until_settled

HOUR = timedelta(hours=1)


@pytest.fixture
def jobs(client: Client, queue: str) -> SyncJobClient:
    return SyncJobClient(client, task_queue=queue)


# -- the whole surface ----------------------------------------------------------------------


async def test_a_debounce_is_driven_by_blocking_calls(
    client: Client, queue: str, jobs: SyncJobClient
) -> None:
    def drive() -> None:
        letters = jobs.debounce(Letters, new_key())
        assert letters.status() is None
        letters.add("a")
        letters.add_many(["b", "c"], ids=["2", "3"])
        receipt = letters.add_confirmed("c", id="3")
        assert (receipt.duplicate, receipt.event_count) == (True, 3)
        assert letters.pause("lunch")
        status = letters.status()
        assert status is not None
        assert (status.status, status.pause_note) == ("paused", "lunch")
        assert letters.state(timeout=timedelta(seconds=30)) == ["a", "b", "c"]
        assert letters.resume()
        assert letters.flush()
        others = jobs.debounce(Letters, new_key())
        assert not others.flush()
        assert not others.terminate()
        others.add("d")
        assert others.clear()

    async with running_worker(client, queue, Letters()):
        await asyncio.to_thread(drive)


async def test_a_continuous_job_is_driven_by_blocking_calls(
    client: Client, queue: str, jobs: SyncJobClient
) -> None:
    def drive() -> None:
        meter = jobs.continuous(Meter, new_key())
        assert meter.start(5).created
        assert not meter.start(7).created
        assert meter.reschedule(Every(HOUR * 2))
        assert meter.trigger()
        assert meter.terminate()
        assert meter.state() is not None

    async with running_worker(client, queue, Meter()):
        await asyncio.to_thread(drive)


async def test_a_task_is_driven_by_blocking_calls(
    client: Client, queue: str, jobs: SyncJobClient
) -> None:
    def drive() -> None:
        thread = jobs.task(Thread, new_key())
        thread.send("one", id="1")
        assert thread.ask("two", timeout=timedelta(seconds=30)) == "two is number 2"
        assert thread.trigger()
        assert thread.redrive() == 0
        assert thread.terminate()

    async with running_worker(client, queue, Thread()):
        await asyncio.to_thread(drive)


async def test_a_worker_pool_is_driven_by_blocking_calls(
    client: Client, queue: str, jobs: SyncJobClient
) -> None:
    def drive() -> None:
        pool = jobs.worker_pool(Pool)
        assert pool.pause("until all is there")
        pool.enqueue("a", partition_key="k", priority=3)
        pool.enqueue_many(["b", "c"], partition_key="k")
        assert pool.status().event_count == 3
        assert pool.clear(index=0) + pool.clear(index=1) == 3
        assert pool.redrive() == 0
        assert pool.resume()
        assert pool.trigger()
        assert pool.drain(index=0)
        assert pool.terminate(index=1)

    async with running_worker(client, queue, Pool()):
        await asyncio.to_thread(drive)


async def test_many_instances_are_listed_and_told_by_blocking_calls(
    client: Client, queue: str, jobs: SyncJobClient
) -> None:
    prefix = new_key()
    keys = {f"{prefix}-{number}" for number in range(5)}

    def listed() -> set[str]:
        return {status.key for status in jobs.list(Letters, key_prefix=prefix)}

    def drive() -> None:
        assert jobs.pause_all(Letters, "all of them", key_prefix=prefix).done == 5
        assert len(listed()) == 5
        for status in jobs.list(Letters, key_prefix=prefix, status="paused"):
            assert status.pause_note == "all of them"
            break
        assert jobs.resume_all(Letters, key_prefix=prefix).done == 5
        assert jobs.clear_all(Letters, key_prefix=prefix).events == 5

    async with running_worker(client, queue, Letters()):
        for key in keys:
            await asyncio.to_thread(jobs.debounce(Letters, key).add, "a")

        async def visible() -> bool:
            return await asyncio.to_thread(listed) == keys

        await eventually(visible)
        await asyncio.to_thread(drive)
    with pytest.raises(InvalidArgument, match="status"):
        jobs.list(Letters, status=_wrong("asleep"))


def _wrong(value: object) -> Any:
    return value


# -- threads --------------------------------------------------------------------------------


def in_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    """What a call gives, or raises, in each of many threads that start together."""
    results: list[Any] = ["never returned"] * count
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = call(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=[n], daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE)
    return results


async def test_twenty_threads_lose_no_event_and_none_hangs(
    client: Client, queue: str, jobs: SyncJobClient
) -> None:
    keys = [new_key(), new_key(), new_key()]

    def use(number: int) -> str:
        for turn in range(20):
            for key in keys:
                jobs.debounce(Letters, key).add(f"{number}-{turn}")
        return jobs.task(Thread, keys[number % 3]).ask(f"t{number}")

    async with running_worker(client, queue, Letters(), Thread()):
        replies = await asyncio.to_thread(in_threads, 20, use)
        assert all("is number" in str(reply) for reply in replies), replies
        wanted = Counter(f"{number}-{turn}" for number in range(20) for turn in range(20))
        for key in keys:
            state = await asyncio.to_thread(jobs.debounce(Letters, key).state)
            assert Counter(state) == wanted


async def test_all_clients_of_a_process_share_one_thread(jobs: SyncJobClient) -> None:
    def use(_: int) -> None:
        assert jobs.debounce(Letters, new_key()).status() is None

    before = threading.active_count()
    await asyncio.to_thread(in_threads, 8, use)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("durable-jobs-sync") == 1
    assert threading.active_count() <= before + 2


# -- where it refuses -----------------------------------------------------------------------


async def test_a_call_in_an_event_loop_is_refused_in_words(jobs: SyncJobClient) -> None:
    with pytest.raises(JobsError, match=r"Use JobClient here and await.*asyncio\.to_thread"):
        jobs.debounce(Letters, "k").add("a")
    with pytest.raises(JobsError, match="runs an event loop"):
        SyncJobClient.connect()


async def test_errors_are_those_of_the_async_client(jobs: SyncJobClient) -> None:
    wrong: dict[str, Any] = {"event": 5, "job": Thread, "client": "127.0.0.1:7233"}

    def add() -> None:
        jobs.debounce(Letters, "k").add(wrong["event"])

    with pytest.raises(InvalidEvent, match="letters"):
        await asyncio.to_thread(add)
    with pytest.raises(TypeError, match=r"use jobs\.task\(Thread, key\)"):
        jobs.debounce(wrong["job"], "k")
    with pytest.raises(InvalidArgument, match=r"SyncJobClient\.of: jobs is a JobClient"):
        SyncJobClient.of(wrong["client"])
    with pytest.raises(InvalidArgument, match="an async function that connects one"):
        SyncJobClient(wrong["client"])


async def test_where_threads_are_not_real_each_call_says_so(server: EmbeddedServer) -> None:
    program = Python.code(
        """
        from gevent import monkey
        monkey.patch_all()
        import gevent
        from durable_jobs import JobsError, SyncJobClient
        from tests.client.sync_jobs import Letters

        def use():
            try:
                jobs.debounce(Letters, "green").add("a")
            except JobsError as error:
                print(error)

        jobs = SyncJobClient.connect(lazy=True)
        for _ in range(2):
            gevent.joinall([gevent.spawn(use), gevent.spawn(use)])
        """,
        TEMPORAL_ADDRESS=server.target,
    )
    assert await program.exit_code() == 0, program.text
    assert program.text.count("SyncJobClient needs real threads, which gevent") == 4


async def test_a_closed_client_refuses_calls(client: Client, queue: str) -> None:
    def use() -> None:
        with SyncJobClient(client, queue) as jobs:
            letters = jobs.debounce(Letters, new_key())
            assert letters.status() is None
        with pytest.raises(JobsError, match="is closed"):
            letters.add("a")

    await asyncio.to_thread(use)


# -- connecting -----------------------------------------------------------------------------


async def test_a_lazy_client_starts_no_thread_and_connects_with_its_first_call(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    program = Python.code(
        """
        import os, threading
        from durable_jobs import SyncJobClient, TemporalUnreachable
        from tests.client.sync_jobs import Letters

        letters = SyncJobClient.connect(lazy=True).debounce(Letters, "late")
        print("threads:", threading.active_count())
        try:
            letters.status()
        except TemporalUnreachable as error:
            print("refused:", error)
        os.environ["TEMPORAL_ADDRESS"] = os.environ["LATER"]
        print("status:", letters.status())
        """,
        TEMPORAL_ADDRESS="127.0.0.1:1",
        LATER=server.target,
    )
    assert await program.exit_code() == 0, program.text
    assert "threads: 1" in program.text
    assert "refused: Temporal does not answer at 127.0.0.1:1" in program.text
    assert "status: None" in program.text


async def test_a_function_connects_a_client_of_ones_own_with_the_first_call(
    server: EmbeddedServer, queue: str
) -> None:
    made: list[Client] = []

    async def connect() -> Client:
        made.append(await Client.connect(server.target))
        return made[0]

    def use() -> None:
        with SyncJobClient(connect, queue) as jobs:
            assert not made
            for _ in range(2):
                assert jobs.debounce(Letters, new_key()).status() is None

    await asyncio.to_thread(use)
    assert len(made) == 1
    async with JobClient(connect, queue) as jobs:
        assert await jobs.debounce(Letters, new_key()).status() is None
    assert len(made) == 2


async def test_a_function_that_connects_something_else_is_told_so(queue: str) -> None:
    async def connect() -> Any:
        return "127.0.0.1:7233"

    with pytest.raises(InvalidArgument, match=r"gives a temporalio\.client\.Client, not '127"):
        await JobClient(connect, queue).debounce(Letters, "k").add("a")


# -- in a handler ---------------------------------------------------------------------------


class Relay(TaskJob[str, int]):
    """Hands each event to a pool from its thread, and fails once after that."""

    name = "relay"

    def initial_state(self, key: str) -> int:
        return 0

    def on_event(self, run: TaskRun[int], event: str) -> None:
        pool = SyncJobClient.of(run.jobs).worker_pool(Taken)
        pool.enqueue(event, partition_key="k")
        if run.attempt == 1:
            raise OSError("after the call")

    async def execute(self, run: TaskRun[int]) -> None: ...


class Taken(WorkerPoolJob[str]):
    name = "taken"
    concurrency = 1
    events: list[str]

    def __init__(self) -> None:
        self.events = []

    async def execute(self, run: WorkerPoolRun[str]) -> None:
        self.events.append(run.event)


async def test_a_plain_handler_makes_the_calls_of_its_run_once(client: Client, queue: str) -> None:
    taken = Taken()
    async with running_worker(client, queue, Relay(), taken) as jobs:
        relay = jobs.task(Relay, new_key())
        await relay.send("hello")
        status = await until_settled(relay)
        await relay.send("bye")
        await until_settled(relay)
        await eventually(lambda: len(taken.events) == 2)
        assert taken.events == ["hello", "bye"]
        assert status.handled_events == 1


async def test_a_handler_that_waits_in_a_call_ends_when_its_attempt_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes: list[str] = []
    began = threading.Event()

    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcomes.append("the call was cancelled")
            raise

    def handler() -> None:
        try:
            wait(endless())
        finally:
            outcomes.append("the handler ended")

    attempt = asyncio.create_task(in_thread(handler))
    assert await asyncio.to_thread(began.wait, PATIENCE)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await eventually(lambda: len(outcomes) == 2)
    assert "left behind" not in caplog.text


# -- ends -----------------------------------------------------------------------------------


async def test_ctrl_c_ends_a_call_that_waits(server: EmbeddedServer, queue: str) -> None:
    program = Python.code(
        """
        import sys
        from datetime import timedelta
        from durable_jobs import SyncJobClient
        from tests.client.sync_jobs import Thread

        with SyncJobClient.connect() as jobs:
            thread = jobs.task(Thread, sys.argv[1])
            thread.send("there")
            print("asking")
            try:
                thread.ask("anybody?", timeout=timedelta(minutes=5))
            except KeyboardInterrupt:
                print("interrupted")
            print("and goes on:", thread.terminate())
        """,
        new_key(),
        TEMPORAL_ADDRESS=server.target,
        DURABLE_JOBS_TASK_QUEUE=queue,
    )
    await program.line("asking")
    program.signal(signal.SIGINT)
    await program.line("interrupted")
    assert await program.exit_code() == 0, program.text
    assert "and goes on: True" in program.text


async def test_a_script_ends_while_other_threads_wait_for_answers(
    server: EmbeddedServer, queue: str
) -> None:
    program = Python.code(
        """
        import atexit, sys, threading
        from datetime import timedelta
        from durable_jobs import SyncJobClient
        from tests.client.sync_jobs import Thread

        thread = SyncJobClient.connect().task(Thread, sys.argv[1])
        thread.send("there")
        atexit.register(lambda: print("at exit:", thread.terminate(), flush=True))
        for _ in range(5):
            threading.Thread(target=thread.ask, args=["anybody?"], daemon=True).start()
        sys.exit(3)
        """,
        new_key(),
        TEMPORAL_ADDRESS=server.target,
        DURABLE_JOBS_TASK_QUEUE=queue,
    )
    assert await program.exit_code() == 3, program.text
    assert program.output == ["at exit: True"]


async def test_a_call_too_late_in_a_process_is_refused(server: EmbeddedServer) -> None:
    program = Python.code(
        """
        import atexit

        @atexit.register
        def late():
            try:
                letters.status()
            except JobsError as error:
                print(error)

        from durable_jobs import JobsError, SyncJobClient
        from tests.client.sync_jobs import Letters

        letters = SyncJobClient.connect().debounce(Letters, "late")
        letters.status()
        """,
        TEMPORAL_ADDRESS=server.target,
    )
    assert await program.exit_code() == 0, program.text
    assert program.output == ["This process is about to end: SyncJobClient makes no more calls."]
