"""Records the kept histories anew: python -m tests.histories.record

Only when old ones may break on purpose. While no version was released, a change of the workflows
that an old history does not survive is such a purpose; later it needs `workflow.patched`.
"""

import asyncio
import base64
import json
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Worker

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.tracking.sinks.base import SendResult
from durable_jobs.tracking.wire import WireEvent
from tests.histories.jobs import Digest, Hooks, Item, Notes, Poll, Thread, jobs
from tests.support import eventually

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
QUEUE = "record"
LONG_AT_60 = {"limit.historyCount.suggestContinueAsNew": "60"}
"""Continue-as-new as the server suggests it, which history tells a replay."""


async def main() -> None:
    """Live one rich life of each type, and write down its runs."""
    async with EmbeddedServer(ui=False, config=LONG_AT_60) as server:
        client = await Client.connect(server.target, identity="recorder")
        plugin = JobsPlugin(jobs(), Tracking(Late(), env="recorded"))
        async with Worker(client, task_queue=QUEUE, plugins=[plugin]):
            await Recorder(client).all()
        await write(client)


class Late(MemorySink):
    """Answers too late where a key says so."""

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """Take all."""
        if any(event["id"].endswith("late") for event in events):
            await asyncio.sleep(1.5)
        return await super().send(events)


class Recorder:
    """Drives one instance of each job through all that can happen to it."""

    def __init__(self, client: Client, queue: str = QUEUE, key: str = "kept") -> None:
        self._client, self._queue, self._key = client, queue, key
        self._jobs = JobClient(client, task_queue=queue)

    async def all(self) -> None:
        """Live one life of each type, to the end of its last delivery."""
        await asyncio.gather(self.digest(), self.poll(), self.thread(), self.hooks())
        await self.window(f"{self._key}-prompt")
        await self.window(f"{self._key}-late")
        await eventually(self.nothing_runs)

    async def digest(self) -> None:
        """Windows of all kinds, updates, rejected events, retries, a pause, clear."""
        digest = self._jobs.debounce(Digest, self._key)
        handle = self._client.get_workflow_handle(digest.instance_id)
        await digest.add_confirmed(Item(word="one"))
        await asyncio.gather(*(digest.add(Item(word=f"{n}"), id=f"id-{n % 3}") for n in range(4)))
        await handle.signal("add", args=[1, 2])
        await handle.signal("add", {"fail": "often"})
        await digest.pause()
        await digest.flush()
        await self.runs(digest.instance_id, 1)
        await digest.add(Item(word="again", fail=2))
        await handle.execute_update("resume")
        await self.runs(digest.instance_id, 2)
        await digest.add(Item(word="exhausted", fail=3))
        await eventually(lambda: self.has(digest.instance_id, "status", "paused"))
        await digest.add_confirmed(Item(word="next"), id="id-1")
        await digest.flush()
        await eventually(lambda: self.ended(digest.instance_id))

    async def window(self, key: str) -> None:
        """One window, whose last events leave with its last task, or too late."""
        digest = self._jobs.debounce(Digest, key)
        await digest.add(Item())
        await eventually(lambda: self.ended(digest.instance_id))

    async def poll(self) -> None:
        """Ticks, triggers, retries, a pause, an exhausted run, continue-as-new."""
        poll = self._jobs.continuous(Poll, self._key)
        handle = self._client.get_workflow_handle(poll.instance_id)
        await poll.start(Notes(words=["first"]))
        await self.runs(poll.instance_id, 2)
        await handle.execute_update("pause")
        await poll.trigger()
        await self.runs(poll.instance_id, 3)
        await poll.resume()
        # The fourth run fails for good; a slow machine may have made it before the resume.
        await self.runs(poll.instance_id, 4)
        await poll.resume()
        await self.runs(poll.instance_id, 7)
        await poll.terminate("recorded")
        await eventually(lambda: self.ended(poll.instance_id))

    async def thread(self) -> None:
        """Events, asks, alarms, idleness, errors, a pause, continue-as-new."""
        thread = self._jobs.task(Thread, self._key)
        handle = self._client.get_workflow_handle(thread.instance_id)
        await thread.send(Item(word="alarm"))
        await thread.ask(Item(word="asked"))
        await handle.signal("send", {"fail": "often"})
        await thread.send(Item(word="failing", fail=1), id="id-1")
        await thread.send(Item(word="exhausted", fail=2), id="id-2")
        await asyncio.gather(*(thread.ask(Item(word=f"{n}")) for n in range(3)))
        await thread.pause()
        await thread.trigger()
        asked = asyncio.create_task(thread.ask(Item(word="while paused")))
        await self.runs(thread.instance_id, 10)
        await thread.resume()
        await asked
        for number in range(6):
            await thread.ask(Item(word=f"more {number}"))
        await thread.send(Item(word="end"))
        await eventually(lambda: self.ended(thread.instance_id))

    async def hooks(self) -> None:
        """Bursts, priorities, retries, dead letters, a pause, redrive, drain, continue-as-new."""
        pool = self._jobs.worker_pool(Hooks)
        instance_id = "workerPool:hooks:0"
        handle = self._client.get_workflow_handle(instance_id)
        await pool.enqueue_many([Item(word=f"{n}") for n in range(5)])
        await handle.signal("enqueue", {"fail": "often"})
        await pool.enqueue(Item(word="failing", fail=1), id="id-1", priority=3)
        await pool.enqueue(Item(word="dead", fail=2), id="id-2")
        await eventually(lambda: self.has(instance_id, "handledEvents", 6))
        await pool.pause()
        await pool.enqueue(Item(word="while paused"))
        await pool.trigger()
        await eventually(lambda: self.has(instance_id, "handledEvents", 7))
        await pool.resume()
        await handle.execute_update("enqueue", {"word": "confirmed"})
        await eventually(lambda: self.has(instance_id, "eventCount", 0))
        await pool.redrive("id-2")
        await eventually(lambda: self.has(instance_id, "eventCount", 0))
        await pool.drain()
        await pool.terminate("recorded")
        await eventually(lambda: self.ended(instance_id))

    async def runs(self, instance_id: str, count: int) -> None:
        """Wait until so many runs are over."""

        async def over() -> bool:
            status = await self._client.get_workflow_handle(instance_id).query("status")
            return status["runCount"] >= count and status["status"] not in ("running", "retrying")

        await eventually(over)

    async def has(self, instance_id: str, field: str, value: object) -> bool:
        """Whether the status says so."""
        return (await self._client.get_workflow_handle(instance_id).query("status"))[field] == value

    async def ended(self, instance_id: str) -> bool:
        """Whether the instance has ended."""
        description = await self._client.get_workflow_handle(instance_id).describe()
        return description.close_time is not None

    async def nothing_runs(self) -> bool:
        """Whether the last tracking events are delivered, too."""
        running = f"TaskQueue = '{self._queue}' AND ExecutionStatus = 'Running'"
        return [run async for run in self._client.list_workflows(running)] == []


async def write(client: Client) -> None:
    """Write down all runs, in the order of their start."""
    for old in FOLDER.glob("*.json"):
        old.unlink()
    counts: dict[str, int] = {}
    runs = [run async for run in client.list_workflows(f"TaskQueue = '{QUEUE}'")]
    for run in sorted(runs, key=lambda run: run.start_time):
        ours = run.workflow_type == "TrackingDelivery"
        name = run.workflow_type if ours else run.id
        name = name.replace(":", "-").lower()
        counts[name] = counts.get(name, 0) + 1
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        kept = scrubbed((await handle.fetch_history()).to_json_dict())
        path = FOLDER / f"{name}-{counts[name]}.json"
        events = ",\n".join(json.dumps(event) for event in kept["events"])
        path.write_text(f'{{"workflowId": "{run.id}", "events": [\n{events}\n]}}\n')
        print(path.name, len(kept["events"]))  # noqa: T201 - a script


def load() -> list[WorkflowHistory]:
    """The kept histories."""
    found: list[WorkflowHistory] = []
    for path in sorted(FOLDER.glob("*.json")):
        data = json.loads(path.read_text())
        found.append(WorkflowHistory.from_json(data["workflowId"], data))
    return found


def scrubbed(value: Any) -> Any:
    """The same without the paths of this machine, also inside payloads."""
    if isinstance(value, dict):
        if isinstance(value.get("data"), str) and "metadata" in value:
            data = plain(base64.b64decode(value["data"]).decode()).encode()
            return {**value, "data": base64.b64encode(data).decode()}
        return {name: scrubbed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def plain(text: str) -> str:
    """A text in which paths begin at the project or the library."""
    for path in (sysconfig.get_path("purelib"), str(ROOT), sysconfig.get_path("stdlib")):
        text = text.replace(f"{path}/", "")
    return text


if __name__ == "__main__":
    asyncio.run(main())
