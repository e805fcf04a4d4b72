"""What callers may get wrong, and a bench on which tests send it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs import JobClient
from tests.support import PATIENCE, eventually
from tests.support.jobs import new_key, running_worker
from tests.support.scripted import Book
from tests.support.simple_jobs import simple_jobs

Handle = WorkflowHandle[Any, Any]

WORKFLOWS = {"continuous": "ContinuousJob", "debounce": "DebounceJob", "task": "TaskJob"}
JOBS = {"continuous": "count", "debounce": "held", "task": "note"}
CONTROL = ("pause", "resume", "terminate")
ONE_EVENT = [("debounce", "add"), ("task", "send")]
BATCH = [("debounce", "add_batch"), ("task", "send_batch")]
BARE = [
    *(("debounce", verb) for verb in ("flush", "clear", "pause", "resume")),
    *(("task", verb) for verb in ("trigger", "pause", "resume")),
    *(("continuous", verb) for verb in ("trigger", "pause", "resume")),
]
"""Verbs that take no argument."""


def payload(data: bytes, encoding: str | None = "json/plain") -> RawValue:
    """A payload as some other SDK, or no SDK, might send it."""
    metadata = {"encoding": encoding.encode()} if encoding else {}
    return RawValue(Payload(metadata=metadata, data=data))


NOT_JSON = {
    "bytes": payload(b"\x00\xff\x00", "binary/plain"),
    "an unknown encoding": payload(b"{}", "application/x-something"),
    "no encoding": payload(b"{}", None),
    "broken JSON": payload(b'{"n": '),
    "no UTF-8": payload(b'"\xff\xfe"'),
    "nested too deep": payload(b"[" * 5000 + b"]" * 5000),
    "nothing": payload(b""),
}
NOT_A_PUSH = {
    "a number": 5,
    "a string": "x",
    "null": None,
    "a list": [{"n": 1}],
    "an object of another shape": {"n": "many"},
    "true": True,
    "nested deep": payload(b"[" * 190 + b"]" * 190),
    "an endless number": payload(b"9" * 4000),
    "not a number": payload(b"NaN"),
}
"""JSON, but no event of the jobs here."""

NOT_A_BATCH = {
    "a number": 5,
    "null": None,
    "a list": [{"data": {"n": 1}}],
    "no events": {},
    "events a number": {"events": 5},
    "events empty": {"events": []},
    "an event a number": {"events": [1]},
    "an event without data": {"events": [{"id": "a"}]},
    "an id a number": {"events": [{"data": {"n": 1}, "id": 5}]},
}
"""Of these, no event can be told."""


async def result_of(handle: Handle) -> dict[str, Any]:
    """What an instance ended with; fails where it hangs."""
    async with asyncio.timeout(PATIENCE):
        return await handle.result()


@dataclass(frozen=True)
class Raw:
    """A worker with one job of each type, and a client that sends what it likes."""

    client: Client
    queue: str
    jobs: JobClient

    async def started(self, kind: str) -> Handle:
        """An instance that gathers, waits or idles."""
        key = new_key()
        first: dict[str, Any] = {}
        if kind != "continuous":
            first = {
                "start_signal": {"debounce": "add", "task": "send"}[kind],
                "start_signal_args": [{"n": 1}],
            }
        handle = await self.start(kind, {"job": JOBS[kind], "key": key}, key, **first)
        word = {"continuous": "scheduled", "debounce": "debouncing", "task": "idle"}[kind]
        await eventually(lambda: self._says(handle, status=word, runCount=int(kind == "task")))
        if kind != "task":
            await eventually(lambda: self._knows_its_options(handle))
        return handle

    async def _knows_its_options(self, handle: Handle) -> bool:
        return (await handle.query("status"))["nextRunAt"] is not None

    async def start(self, kind: str, argument: Any, key: str, **options: Any) -> Handle:
        """Start with any argument."""
        return await self.client.start_workflow(
            WORKFLOWS[kind],
            argument,
            id=f"{kind}:{JOBS[kind]}:{key}",
            task_queue=self.queue,
            **options,
        )

    async def _says(self, handle: Handle, **expected: object) -> bool:
        status = await handle.query("status")
        return all(status[name] == value for name, value in expected.items())

    async def rejected(self, handle: Handle, count: int) -> str:
        """Waits until so many events are rejected; gives the reason of the last one."""
        await eventually(lambda: self._says(handle, rejectedEvents=count))
        return (await handle.query("status"))["rejections"][-1]["reason"]

    async def still_works(self, handle: Handle, kind: str) -> None:
        """The instance takes an event or a tick, and ends when it is told to."""
        before = (await handle.query("status"))["runCount"]
        await handle.signal("resume")
        match kind:
            case "debounce":
                await handle.signal("add", {"n": 77})
                assert 77 in (await handle.query("state"))["ns"]
            case "task":
                await handle.signal("send", {"n": 77})
                await eventually(lambda: self._says(handle, runCount=before + 1, status="idle"))
                assert 77 in (await handle.query("state"))["ns"]
            case _:
                await handle.signal("trigger")
                await eventually(lambda: self._says(handle, runCount=before + 1))
        await handle.signal("terminate", "done with it")
        assert (await result_of(handle))["reason"] == "done with it"


@asynccontextmanager
async def raw_bench(client: Client) -> AsyncIterator[Raw]:
    """A bench for the tests of one file."""
    queue = f"test-{new_key()}"
    async with running_worker(client, queue, *simple_jobs(Book())) as jobs:
        yield Raw(client, queue, jobs)


async def refusal(handle: Handle, name: str, *arguments: Any) -> str:
    """The reason for which an update was refused; it left no trace."""
    before = await handle.query("status")
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(name, args=arguments)
    cause = refused.value.cause
    assert isinstance(cause, ApplicationError)
    after = await handle.query("status")
    before.pop("tracking"), after.pop("tracking")
    assert after == before
    return cause.message
