"""One client in several event loops, threads and processes."""

import asyncio
import os
import textwrap
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import DebounceJob, DebounceRun, JobClient, JobsError, TemporalUnreachable
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.link import Link
from durable_jobs.loops import PerLoop
from tests.support import PATIENCE, Python
from tests.support.jobs import new_key


class Words(DebounceJob[str, list[str]]):
    name = "words"
    flush_after = timedelta(hours=1)

    def reduce(self, state: list[str] | None, event: str) -> list[str]:
        return [*(state or []), event]

    async def execute(self, run: DebounceRun[list[str]]) -> None: ...


def in_threads(*calls: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
    """What each call gives, or raises, in a thread and an event loop of its own."""
    results: list[Any] = ["never returned"] * len(calls)

    def run(index: int) -> None:
        try:
            results[index] = asyncio.run(calls[index]())
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE)
    return results


async def signals(client: Client, instance_id: str) -> int:
    history = await client.get_workflow_handle(instance_id).fetch_history()
    kind = "workflow_execution_signaled_event_attributes"
    return sum(event.WhichOneof("attributes") == kind for event in history.events)


async def test_threads_that_each_run_a_loop_add_to_one_key(client: Client, queue: str) -> None:
    words = JobClient(client, task_queue=queue).debounce(Words, new_key())

    async def add_some() -> None:
        await asyncio.gather(*(words.add("word") for _ in range(5)))
        for _ in range(5):
            await words.add("word")

    results = await asyncio.to_thread(in_threads, *[add_some] * 4)
    assert results == [None] * 4
    assert await signals(client, words.instance_id) >= 4 * 6
    await client.get_workflow_handle(words.instance_id).terminate()


async def test_a_loop_that_is_closed_under_an_add_blocks_its_key_for_no_other(
    client: Client, queue: str
) -> None:
    words = JobClient(client, task_queue=queue).debounce(Words, new_key())

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        adding = loop.create_task(words.add("left behind"))
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        assert not adding.done()
        loop.close()

    await asyncio.to_thread(abandon)
    await asyncio.wait_for(words.add("in another loop"), PATIENCE)
    results = await asyncio.to_thread(in_threads, lambda: words.add("and another"))
    assert results == [None]
    await client.get_workflow_handle(words.instance_id).terminate()


async def test_a_cancelled_loop_cancels_no_call_of_another(client: Client, queue: str) -> None:
    words = JobClient(client, task_queue=queue).debounce(Words, new_key())

    async def leave_at_once() -> None:
        adding = [asyncio.create_task(words.add("left behind")) for _ in range(20)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in adding)

    async def add_some() -> None:
        for _ in range(20):
            await words.add("word")

    results = await asyncio.to_thread(in_threads, leave_at_once, add_some, leave_at_once, add_some)
    assert results == [None] * 4
    await client.get_workflow_handle(words.instance_id).terminate()


def test_each_loop_has_a_value_of_its_own_and_those_of_closed_loops_go() -> None:
    values: PerLoop[list[int]] = PerLoop(list)

    async def own() -> list[int]:
        assert values.get() is values.get()
        return values.get()

    first, second = asyncio.run(own()), asyncio.run(own())
    assert first is not second
    assert len(values._values) == 1  # pyright: ignore[reportPrivateUsage]


# -- connecting late ------------------------------------------------------------------------


async def test_a_lazy_client_connects_with_its_first_call(
    server: EmbeddedServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", queue)
    jobs = await JobClient.connect(lazy=True)
    words = jobs.debounce(Words, new_key())
    for _ in range(2):
        with pytest.raises(TemporalUnreachable, match=r"127\.0\.0\.1:1"):
            await words.add("word")
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.target)
    await words.add("word")
    assert await words.terminate()


async def test_threads_connect_one_lazy_client_at_the_same_time(
    server: EmbeddedServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.target)
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", queue)
    async with JobClient.connect(lazy=True) as jobs:
        words = jobs.debounce(Words, new_key())
        results = await asyncio.to_thread(in_threads, *[lambda: words.add("word")] * 6)
        assert results == [None] * 6
        assert await words.terminate()


async def test_callers_that_wait_for_one_connection_hear_of_its_failure_at_once(
    client: Client,
) -> None:
    tries = 0
    answered = asyncio.Event()

    async def connect() -> Client:
        nonlocal tries
        tries += 1
        await answered.wait()
        if tries == 1:
            raise TemporalUnreachable("not yet")
        return client

    link = Link(None, connect)
    calls = [asyncio.create_task(link.client()) for _ in range(5)]
    await asyncio.sleep(0)
    calls[0].cancel()
    answered.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results[1:]] == [TemporalUnreachable] * 4
    assert isinstance(results[0], asyncio.CancelledError)
    assert await link.client() is client
    assert tries == 2


# -- closing --------------------------------------------------------------------------------


async def test_a_closed_client_refuses_calls_at_once(client: Client, queue: str) -> None:
    async with JobClient(client, task_queue=queue) as jobs:
        words = jobs.debounce(Words, new_key())
        await words.add("word")
    for call in (words.add("word"), words.status(), words.terminate(), words.add_confirmed("a")):
        with pytest.raises(JobsError, match="is closed"):
            await call
    assert await JobClient(client, task_queue=queue).debounce(Words, words.key).terminate()


async def test_connect_can_be_awaited_entered_and_run_as_a_task(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.target)
    jobs = await JobClient.connect()
    assert await jobs.debounce(Words, new_key()).status() is None
    async with JobClient.connect() as jobs, await JobClient.connect() as others:
        assert await jobs.debounce(Words, new_key()).status() is None
        assert await others.debounce(Words, new_key()).status() is None
    jobs = await asyncio.create_task(JobClient.connect())
    assert await asyncio.wait_for(jobs.debounce(Words, new_key()).status(), PATIENCE) is None


# -- forks ----------------------------------------------------------------------------------

FORKING = textwrap.dedent(
    """
    import asyncio, os, sys
    from temporalio.client import Client
    from durable_jobs import JobClient, JobsError
    from tests.client.test_loops import Words

    async def parents():
        temporal = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
        given = JobClient(temporal).debounce(Words, "forked")
        connected = (await JobClient.connect()).debounce(Words, "forked")
        await given.status(), await connected.status()
        return given, connected

    given, connected = asyncio.run(parents())
    lazy = asyncio.run(JobClient.connect(lazy=True)).debounce(Words, "forked")
    child = os.fork()
    if child == 0:
        for name, words in (("given", given), ("connected", connected), ("lazy", lazy)):
            try:
                asyncio.run(words.add("word"))
            except JobsError as error:
                print(f"{name}:", error, flush=True)
        sys.exit(7)
    print("child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print("parent's:", asyncio.run(given.status()), asyncio.run(connected.status()))
    """
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_a_process_forked_from_one_that_made_calls_is_told_so_and_ends(
    server: EmbeddedServer,
) -> None:
    program = Python("-W", "ignore", "-c", FORKING, TEMPORAL_ADDRESS=server.target)
    assert await program.exit_code() == 0, program.text
    for client in ("given", "connected", "lazy"):
        assert f"{client}: Temporal's SDK was running when this process was forked" in program.text
    assert "child ended with 7" in program.text
    assert "parent's: None None" in program.text
