"""How tests reconcile."""

from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from durable_jobs.activities.reconcile import Reconciler
from durable_jobs.protocol import Reconciled, TrackingIdentity
from tests.support import Python, eventually
from tests.support.lives import ENV, SERVICE
from tests.tracking.jobs import Gather

DAY = timedelta(days=1)
ROOT = Path(__file__).parents[2]
IDENTITY = TrackingIdentity(env=ENV, service_key=SERVICE)


class Later(Gather):
    """Whose window stays open."""

    name = "later"
    flush_after = timedelta(hours=1)


async def reconcile(
    client: Client, queue: str, count: int = 1, identity: TrackingIdentity | None = IDENTITY
) -> Reconciled:
    """Reconcile once the server's list has that many workflows that were ended from outside."""
    await listed(client, queue, count)
    return await Reconciler(client, queue, identity).reconcile(DAY)


async def listed(client: Client, queue: str, count: int = 1) -> None:
    """Wait until the server's list has that many workflows that were ended from outside."""
    query = f"TaskQueue = '{queue}' AND ExecutionStatus IN ('Terminated', 'TimedOut')"

    async def there() -> bool:
        return len([run async for run in client.list_workflows(query)]) >= count

    await eventually(there)


async def recorded(client: Client, instance_id: str) -> None:
    """Wait until a workflow task of an instance is in history.

    What its first task sent may arrive before, and an instance that is ended then was never seen.
    """

    async def there() -> bool:
        history = await client.get_workflow_handle(instance_id).fetch_history()
        return any(e.HasField("workflow_task_completed_event_attributes") for e in history.events)

    await eventually(there)


async def asked(client: Client, instance_id: str) -> None:
    """Wait until an instance has heard from a worker whether it is tracked."""

    async def there() -> bool:
        history = await client.get_workflow_handle(instance_id).fetch_history()
        kinds = [str(event.WhichOneof("attributes")) for event in history.events]
        answered = "activity_task_completed_event_attributes"
        after = kinds[kinds.index(answered) :] if answered in kinds else []
        return "workflow_task_completed_event_attributes" in after

    await eventually(there)


def command(client: Client, queue: str, *options: str, **environment: str) -> Python:
    target = client.service_client.config.target_host
    return Python(
        "-m",
        "durable_jobs.cli",
        "reconcile",
        *options,
        cwd=ROOT,
        TEMPORAL_ADDRESS=target,
        DURABLE_JOBS_TASK_QUEUE=queue,
        **environment,
    )
