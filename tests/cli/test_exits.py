"""How processes that used Temporal's SDK end."""

import _thread
import asyncio
import textwrap
import threading

import pytest

from durable_jobs import exits
from durable_jobs.embedded import EmbeddedServer
from tests.support import Python, eventually
from tests.support.jobs import new_key


class HeldLoop(asyncio.SelectorEventLoop):
    """Keeps whoever hands something to it until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def _write_to_self(self) -> None:
        self.let_go.wait()


def hand_over(loop: HeldLoop) -> None:
    """As a thread of the SDK does: nothing of Python's lies below `call_soon_threadsafe`."""
    _thread.start_new_thread(loop.call_soon_threadsafe, (print,))


async def test_an_end_waits_until_no_thread_of_the_sdk_runs_python_code() -> None:
    loop = HeldLoop()
    try:
        hand_over(loop)
        await eventually(lambda: exits.answers_under_way() == 1)
        ending = asyncio.create_task(asyncio.to_thread(exits.settle))
        await asyncio.sleep(0.05)
        assert not ending.done()
        loop.let_go.set()
        await ending
        assert exits.answers_under_way() == 0
    finally:
        loop.let_go.set()
        loop.close()


async def test_an_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_LONGEST_WAIT", 0.1)
    loop = HeldLoop()
    try:
        hand_over(loop)
        await eventually(lambda: exits.answers_under_way() == 1)
        exits.settle()
        assert exits.answers_under_way() == 1
    finally:
        loop.let_go.set()
        await eventually(lambda: exits.answers_under_way() == 0)
        loop.close()


def test_threads_that_python_started_are_none_of_the_sdk() -> None:
    loop = HeldLoop()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(print,), daemon=True)
    thread.start()
    try:
        assert exits.answers_under_way() == 0
    finally:
        loop.let_go.set()
        thread.join()
        loop.close()


SCRIPT = textwrap.dedent(
    """
    import asyncio, os, sys
    from temporalio.client import Client
    from durable_jobs import JobClient
    from tests.client.test_loops import Words

    async def closing():
        async with JobClient.connect() as jobs:
            await jobs.debounce(Words, sys.argv[1]).add("word")

    async def leaving_it_open():
        await (await JobClient.connect()).debounce(Words, sys.argv[1]).add("word")

    async def failing():
        await leaving_it_open()
        sys.exit(3)

    async def leaving_calls_behind():
        jobs = await JobClient.connect()
        handles = [jobs.debounce(Words, f"{sys.argv[1]}-{n}") for n in range(10)]
        adds = [asyncio.create_task(handle.add("word")) for handle in handles]
        await asyncio.wait(adds, return_when=asyncio.FIRST_COMPLETED)

    async def with_a_client_of_its_own():
        client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
        handles = [JobClient(client).debounce(Words, f"{sys.argv[1]}-{n}") for n in range(10)]
        adds = [asyncio.create_task(handle.add("word")) for handle in handles]
        await asyncio.wait(adds, return_when=asyncio.FIRST_COMPLETED)

    asyncio.run(locals()[sys.argv[2]]())
    """
)


WAYS = (
    "closing",
    "leaving_it_open",
    "failing",
    "leaving_calls_behind",
    "with_a_client_of_its_own",
)


@pytest.mark.parametrize("way", WAYS)
async def test_a_script_that_ends_right_after_its_last_call_ends_cleanly(
    server: EmbeddedServer, way: str
) -> None:
    # Without care, one in five crashes, and those that leave calls behind never end.
    for _ in range(5):
        script = Python("-c", SCRIPT, new_key(), way, TEMPORAL_ADDRESS=server.target)
        code = await script.exit_code()
        assert (code, script.text) == (3 if way == "failing" else 0, "")
