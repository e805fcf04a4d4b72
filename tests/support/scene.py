"""A stage for tests that kill: workers that come and go, their notes, what they tracked."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHistory

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.embedded import EmbeddedServer
from tests.support import Python, eventually
from tests.support.kill_worker import all_jobs
from tests.support.lives import Event, assert_replays, histories_of, in_order, specific
from tests.tracking.collector import Collector

ROOT = Path(__file__).parents[2]
LOST = "the attempt was lost with its worker or timed out"


def at_rest(history: WorkflowHistory) -> bool:
    """Whether no workflow task is under way."""
    return history.events[-1].WhichOneof("attributes") not in (
        "workflow_task_scheduled_event_attributes",
        "workflow_task_started_event_attributes",
    )


@dataclass
class Scene:
    """Workers that come and go, the notes that their handlers took, and what they tracked."""

    server: EmbeddedServer
    client: Client
    queue: str
    folder: Path
    collector: Collector
    module: str = "tests.support.kill_worker"

    @property
    def jobs(self) -> JobClient:
        return JobClient(self.client, task_queue=self.queue)

    def worker(self, *mode: str) -> Python:
        """Start a worker process."""
        where = (self.server.target, self.queue, str(self.folder), self.collector.url)
        return Python("-m", self.module, *where, *mode, cwd=ROOT)

    def hold(self) -> None:
        """Let attempts of held keys not end."""
        (self.folder / "hold").touch()

    def release(self) -> None:
        """Let them end."""
        (self.folder / "hold").unlink()

    def notes(self, instance_id: str) -> list[str]:
        """What handlers of an instance noted, without their idempotency keys."""
        return [line.rsplit(" key=", 1)[0] for line in self._lines(instance_id)]

    def in_handler(self, instance_id: str, handler: str) -> bool:
        """Whether a handler of the instance has been called."""
        return any(f" {handler} run=" in line for line in self._lines(instance_id))

    def keys(self, instance_id: str) -> list[str]:
        """The idempotency keys of an instance's attempts."""
        return [line.rsplit(" key=", 1)[1] for line in self._lines(instance_id)]

    def _lines(self, instance_id: str) -> list[str]:
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(f"{instance_id} ")]

    async def begun(self, instance_id: str, number: int = 1) -> None:
        """Wait until so many attempts began and no workflow task is under way."""
        await eventually(lambda: len(self.notes(instance_id)) >= number)
        await eventually(lambda: self._at_rest(instance_id))

    async def _at_rest(self, instance_id: str) -> bool:
        return at_rest(await self.client.get_workflow_handle(instance_id).fetch_history())

    async def result(self, instance_id: str) -> Any:
        return await self.client.get_workflow_handle(instance_id).result()

    async def life(self, instance_id: str, count: int) -> list[Event]:
        """The tracked life, once it has so many events, without the fields common to all."""
        events = await eventually(lambda: self._tracked(instance_id, count))
        assert [event["sequence"] for event in events] == list(range(1, count + 1))
        return [specific(event) for event in events]

    def _tracked(self, instance_id: str, count: int) -> list[Event]:
        events = in_order(self.collector.accepted, instance_id)
        return events if len(events) >= count else []


@asynccontextmanager
async def stage(
    server: EmbeddedServer,
    client: Client,
    queue: str,
    folder: Path,
    jobs: Callable[[Path], list[Any]] = all_jobs,
) -> AsyncIterator[Scene]:
    """A scene with its collector; at the end all that its workers did is replayed.

    The workers' program is where the jobs are made.
    """
    collector = Collector()
    await collector.start()
    yield Scene(server, client, queue, folder, collector, jobs.__module__)
    await collector.stop()
    plugin = JobsPlugin(jobs(folder))
    await assert_replays(await histories_of(client, queue), plugin)


def lost(run: int, attempt: int = 1) -> Event:
    return {
        "type": "job.failed",
        "error": {"message": LOST},
        "runCount": run,
        "attempt": attempt,
        "willRetry": True,
    }
