"""A client that knows Temporal alone: `python raw_client.py TYPE ADDRESS QUEUE KEY`.

Drives an instance of a job type through its whole life, then checks that the library it drove was
never imported.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from zlib import crc32

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

Handle = WorkflowHandle[Any, Any]


async def until(handle: Handle, **expected: object) -> dict[str, Any]:
    """The status, once it says all this."""
    async with asyncio.timeout(10):
        while True:
            status = await handle.query("status")
            if all(status[name] == value for name, value in expected.items()):
                return status
            await asyncio.sleep(0.02)


async def debounce(client: Client, queue: str, key: str) -> None:
    """Signals, updates and queries of a debounce instance."""
    handle = await client.start_workflow(
        "DebounceJob",
        {"job": "held", "key": key},
        id=f"debounce:held:{key}",
        task_queue=queue,
        start_signal="add",
        start_signal_args=[{"n": 1}],
    )
    twice = {"data": {"n": 2}, "id": "a"}
    await handle.signal("add_batch", {"events": [twice, twice]})
    answer = await handle.execute_update("add", {"n": 3})
    assert (answer["created"], answer["eventCount"], answer["duplicate"]) == (False, 3, False)
    assert datetime.fromisoformat(answer["willFlushAt"]).tzinfo
    new = {"data": {"n": 4}, "id": "b"}
    answer = await handle.execute_update("add_batch", {"events": [twice, new]})
    assert (answer["eventCount"], answer["duplicate"]) == (4, False)
    answer = await handle.execute_update("add_batch", {"events": [twice]})
    assert (answer["eventCount"], answer["duplicate"]) == (4, True)
    status = await until(handle, status="debouncing", eventCount=4)
    assert (status["jobType"], status["jobName"], status["key"]) == ("debounce", "held", key)
    assert await handle.query("state") == {"ns": [1, 2, 3, 4]}
    await handle.signal("pause")
    await until(handle, status="paused", willFlushAt=None)
    await handle.signal("resume")
    await until(handle, status="debouncing")
    await handle.execute_update("pause")
    await until(handle, status="paused")
    await handle.execute_update("flush")
    await until(handle, runCount=1, status="paused", eventCount=0)
    assert await handle.execute_update("clear") == {"discardedEvents": 0}
    ended = {"status": "terminated", "reason": "cleared", "runCount": 1, "discardedEvents": 0}
    assert await handle.result() == ended
    await until(handle, status="terminated")


async def continuous(client: Client, queue: str, key: str) -> None:
    """Signals, updates and queries of a continuous instance."""

    async def start() -> Handle:
        return await client.start_workflow(
            "ContinuousJob",
            {"job": "count", "key": key, "state": {"ns": [7]}},
            id=f"continuous:count:{key}",
            task_queue=queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    handle = await start()
    assert await handle.query("state") == {"ns": [7]}
    await handle.signal("trigger")
    await until(handle, status="scheduled", runCount=1)
    assert (await start()).first_execution_run_id == handle.first_execution_run_id
    await handle.execute_update("trigger")
    status = await until(handle, status="scheduled", runCount=2)
    assert datetime.fromisoformat(status["nextRunAt"]).tzinfo
    assert await handle.query("state") == {"ns": [7, 1, 2]}
    await handle.signal("pause")
    await until(handle, status="paused", nextRunAt=None)
    await handle.execute_update("resume")
    await until(handle, status="scheduled")
    await handle.signal("terminate", "enough")
    ended = {"status": "terminated", "reason": "enough", "runCount": 2, "discardedEvents": 0}
    assert await handle.result() == ended


async def task(client: Client, queue: str, key: str) -> None:
    """Signals, updates and queries of a task instance."""
    start = WithStartWorkflowOperation[Any, Any](
        "TaskJob",
        {"job": "note", "key": key},
        id=f"task:note:{key}",
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    reply = await client.execute_update_with_start_workflow(
        "ask", {"n": 1}, start_workflow_operation=start
    )
    assert reply == 1
    handle = await start.workflow_handle()
    await handle.signal("send", {"n": 2})
    twice = {"data": {"n": 3}, "id": "a"}
    await handle.signal("send_batch", {"events": [twice, twice]})
    await handle.execute_update("send", {"n": 4})
    answer = await handle.execute_update("send_batch", {"events": [twice, {"data": {"n": 5}}]})
    assert answer["duplicate"] is False
    answer = await handle.execute_update("send_batch", {"events": [twice]})
    assert answer["duplicate"] is True
    assert await handle.execute_update("ask", {"n": 6}) == 6
    await handle.signal("trigger")
    await until(handle, status="idle", runCount=7)
    await handle.execute_update("trigger")
    await until(handle, status="idle", runCount=8)
    assert await handle.query("state") == {"ns": [1, 2, 3, 4, 5, 6, 0, 0]}
    await handle.execute_update("pause")
    await handle.signal("send", {"n": 9})
    await until(handle, status="paused", eventCount=1)
    await handle.signal("resume")
    await until(handle, status="idle", eventCount=0)
    await handle.execute_update("terminate", "closed")
    ended = {"status": "terminated", "reason": "closed", "runCount": 9, "discardedEvents": 0}
    assert await handle.result() == ended


async def worker_pool(client: Client, queue: str, key: str) -> None:
    """Signals, updates and queries of an instance of a pool: its key is an index."""
    index = str(crc32(key.encode()) % 1000)
    handle = await client.start_workflow(
        "WorkerPoolJob",
        {"job": "ship", "key": index},
        id=f"workerPool:ship:{index}",
        task_queue=queue,
        start_signal="enqueue",
        start_signal_args=[{"n": 1}],
    )
    status = await until(handle, status="idle", handledEvents=1, eventCount=0)
    assert (status["jobType"], status["jobName"], status["key"]) == ("workerPool", "ship", index)
    await handle.signal("pause", "by hand")
    await until(handle, status="paused", pauseNote="by hand")
    twice = {"data": {"n": 2}, "id": "a", "priority": 5}
    await handle.signal("enqueue_batch", {"events": [twice, twice]})
    assert await handle.execute_update("enqueue", {"n": 3}) == {"eventCount": 2, "duplicate": False}
    answer = await handle.execute_update("enqueue_batch", {"events": [twice]})
    assert answer == {"eventCount": 2, "duplicate": True}
    await handle.signal("trigger")
    await until(handle, status="paused", handledEvents=2, eventCount=1)
    assert await handle.execute_update("clear") == {"discardedEvents": 1}
    await handle.signal("resume")
    await handle.signal("enqueue", {"n": -1})
    status = await until(handle, status="idle", eventCount=0, runCount=3)
    [failed] = status["failedEvents"]
    assert failed["event"]["data"] == {"n": -1}
    assert await handle.execute_update("redrive", failed["id"]) == {"redrivenEvents": 1}
    status = await until(handle, status="idle", eventCount=0, runCount=4)
    await handle.signal("enqueue", {"n": "many"})
    await until(handle, rejectedEvents=1)
    await handle.execute_update("drain")
    assert (await handle.query("status"))["draining"] is True
    await handle.execute_update("terminate", "closed")
    ended = {"status": "terminated", "reason": "closed", "runCount": 4, "discardedEvents": 2}
    assert await handle.result() == ended


LIVES: dict[str, Callable[[Client, str, str], Awaitable[None]]] = {
    "debounce": debounce,
    "continuous": continuous,
    "task": task,
    "worker_pool": worker_pool,
}


async def main(kind: str, address: str, queue: str, key: str) -> None:
    """Live one life."""
    await LIVES[kind](await Client.connect(address), queue, key)
    assert not [name for name in sys.modules if name.startswith("durable_jobs")]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    # The SDK may crash while the interpreter ends (its issue 300), which is not what is tested.
    os._exit(0)
