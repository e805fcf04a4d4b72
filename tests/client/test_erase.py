"""Instances that are erased: nothing of them is left on the server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RPCError

from durable_jobs import EraseReceipt, JobClient, JobsError, NoWorker
from durable_jobs.activities.reconcile import Reconciler
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.erasing.runs import is_over, looked_at
from durable_jobs.handles import WorkerPoolHandle
from durable_jobs.names import DELIVERY_WORKFLOW
from durable_jobs.protocol import DeliverRequest, TrackingIdentity
from durable_jobs.tracking import HttpSink, MemorySink, Tracking
from durable_jobs.wire import to_raw
from tests.many.jobs import Digest, Poll, Service, Triage
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, until_settled
from tests.support.operating import Operator
from tests.support.reconciling import listed
from tests.tracking.collector import Collector
from tests.worker_pool.jobs import Deliver, Hook

SOON = timedelta(seconds=2)
QUICK_DELETION = {
    # A server notes every 30 s how far its queues are, and deletes nothing that is newer.
    "history.transferProcessorUpdateAckInterval": '"100ms"',
    "history.visibilityProcessorUpdateAckInterval": '"100ms"',
}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(ui=False, config=QUICK_DELETION) as server:
        yield server


@pytest.fixture(scope="module")
async def client(server: EmbeddedServer) -> Client:
    return await Client.connect(server.target)


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
async def jobs(client: Client, queue: str, sink: MemorySink) -> AsyncIterator[JobClient]:
    service = Service()
    all_jobs = (Poll(service), Digest(), Triage(service))
    async with running_worker(client, queue, *all_jobs, tracking=Tracking(sink)) as jobs:
        yield jobs


async def runs_of(client: Client, workflow_id: str) -> list[str]:
    """All runs that the server lists."""
    query = f"WorkflowId = '{workflow_id}'"
    return [run.run_id async for run in client.list_workflows(query)]


async def until_over(client: Client, workflow_id: str, run_id: str | None = None) -> None:
    """Wait until a run has ended, or is gone."""

    async def over() -> bool:
        found = await looked_at(client, workflow_id, run_id)
        return found is None or is_over(found)

    await eventually(over)


async def test_of_an_erased_instance_no_life_is_left(
    client: Client, jobs: JobClient, sink: MemorySink
) -> None:
    task = jobs.task(Triage, new_key())
    for life in range(3):
        await task.send(f"alice, {life}")
        await until_settled(task)
        if life < 2:
            await task.terminate()
            await until_over(client, task.instance_id)
    runs = await eventually(lambda: three(client, task.instance_id))
    assert await task.erase() == EraseReceipt(
        instance_id=task.instance_id,
        ended=True,
        deleted_runs=3,
        deleted_deliveries=0,
        reopened=False,
    )
    for run_id in runs:
        with pytest.raises(RPCError, match="not found"):
            await client.get_workflow_handle(task.instance_id, run_id=run_id).fetch_history()
    assert await runs_of(client, task.instance_id) == []
    assert await task.status() is None
    told = [event for event in sink.events if event["instanceId"] == task.instance_id]
    assert told[-1]["type"] == "job.terminated"
    assert told[-1]["reason"] == "erased"
    assert (await task.erase()).deleted_runs == 0


async def three(client: Client, workflow_id: str) -> list[str]:
    runs = await runs_of(client, workflow_id)
    return runs if len(runs) == 3 else []


async def test_without_a_worker_nothing_is_deleted_and_it_ends_once_one_runs(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    poll = jobs.continuous(Poll, new_key())
    await poll.start()
    with pytest.raises(NoWorker, match=f"{queue}'\\? Nothing was deleted"):
        await poll.erase(timeout=SOON)
    assert await looked_at(client, poll.instance_id) is not None
    async with running_worker(client, queue, Poll(Service())):
        await until_over(client, poll.instance_id)
        receipt = await poll.erase()
        assert (receipt.ended, receipt.deleted_runs) == (False, 1)


async def test_an_event_that_comes_meanwhile_opens_a_life_that_is_left_alone(
    client: Client, jobs: JobClient
) -> None:
    digest = jobs.debounce(Digest, new_key())
    await digest.add("old")
    old = await client.get_workflow_handle(digest.instance_id).describe()
    erasing = asyncio.create_task(digest.erase())

    await until_over(client, digest.instance_id, old.run_id)
    await digest.add("new")
    assert (await erasing).reopened
    assert await digest.state() == "new"
    assert await looked_at(client, digest.instance_id, old.run_id) is None
    # That one is erased when it is asked for.
    assert not (await digest.erase()).reopened


async def test_one_that_was_ended_from_outside_is_erased_after_reconcile(
    client: Client, jobs: JobClient, queue: str, sink: MemorySink
) -> None:
    poll = jobs.continuous(Poll, new_key())
    await poll.start()
    await poll.trigger()
    await eventually(lambda: [event for event in sink.events if event["type"] == "job.executed"])
    await client.get_workflow_handle(poll.instance_id).terminate(reason="by hand")
    with pytest.raises(JobsError, match=r"nothing was deleted.*`durable-jobs reconcile`"):
        await poll.erase()
    assert await looked_at(client, poll.instance_id) is not None
    await listed(client, queue)
    await Reconciler(client, queue, TrackingIdentity()).reconcile(timedelta(days=1))
    receipt = await poll.erase()
    assert (receipt.deleted_runs, receipt.deleted_deliveries) == (1, 1)
    assert sink.events[-1]["reason"] == "by hand"


async def test_one_that_was_ended_before_any_worker_saw_it_is_erased(
    client: Client, queue: str
) -> None:
    poll = JobClient(client, task_queue=queue).continuous(Poll, new_key())
    await poll.start()
    await client.get_workflow_handle(poll.instance_id).terminate()
    async with running_worker(client, queue, Poll(Service())):
        assert (await poll.erase()).deleted_runs == 1


async def test_events_that_were_handed_over_are_waited_for_and_their_delivery_goes_too(
    client: Client, queue: str, collector: Collector
) -> None:
    await collector.stop()
    tracking = Tracking(HttpSink(collector.url))
    async with running_worker(client, queue, Poll(Service()), tracking=tracking) as jobs:
        poll = jobs.continuous(Poll, new_key())
        await poll.start()
        with pytest.raises(JobsError, match=r"still wait for their collector.*tracking-delivery:"):
            await poll.erase(timeout=SOON)
        assert await looked_at(client, poll.instance_id) is not None
        await collector.start()
        receipt = await poll.erase()
        assert (receipt.ended, receipt.deleted_runs) == (False, 1)
        assert receipt.deleted_deliveries >= 1
        assert [event["type"] for event in collector.accepted][-1] == "job.terminated"
        assert await deliveries_of(client, queue) == []


async def deliveries_of(client: Client, queue: str) -> list[str]:
    query = f"WorkflowType = '{DELIVERY_WORKFLOW}' AND TaskQueue = '{queue}'"
    return [run.id async for run in client.list_workflows(query)]


def told_by(instance_id: str) -> RawValue:
    """What a delivery is given: an event of an instance."""
    event = {"eventId": "e", "instanceId": instance_id, "timestamp": "2026-01-01T00:00:00Z"}
    return to_raw(DeliverRequest(events=[event]))


async def test_deliveries_of_others_are_neither_waited_for_nor_deleted(
    client: Client, queue: str
) -> None:
    poll = JobClient(client, task_queue=queue).continuous(Poll, new_key())
    args = (DELIVERY_WORKFLOW, told_by("continuous:poll:other"))
    await client.start_workflow(*args, id=f"tracking-delivery:{queue}", task_queue=queue)
    await eventually(lambda: deliveries_of(client, queue))
    assert (await poll.erase(timeout=SOON)).deleted_deliveries == 0
    assert await looked_at(client, f"tracking-delivery:{queue}") is not None


async def test_what_cannot_be_read_without_the_payload_codec_is_not_taken_for_anothers(
    client: Client, queue: str
) -> None:
    poll = JobClient(client, task_queue=queue).continuous(Poll, new_key())
    secret = RawValue(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"?"))
    args = (DELIVERY_WORKFLOW, secret)
    await client.start_workflow(*args, id=f"tracking-delivery:{queue}", task_queue=queue)
    await eventually(lambda: deliveries_of(client, queue))
    with pytest.raises(JobsError, match="workers' payload codec"):
        await poll.erase(timeout=SOON)


async def test_a_delivery_that_was_ended_from_outside_is_reconciled_first(
    client: Client, queue: str
) -> None:
    poll = JobClient(client, task_queue=queue).continuous(Poll, new_key())
    args = (DELIVERY_WORKFLOW, told_by(poll.instance_id))
    name = f"tracking-delivery:{queue}"
    await client.start_workflow(*args, id=name, task_queue=queue)
    await client.get_workflow_handle(name).terminate()
    await listed(client, queue)
    with pytest.raises(JobsError, match="`durable-jobs reconcile`, then erase it again"):
        await poll.erase(timeout=SOON)


async def test_another_workflow_under_its_id_is_left_alone(client: Client, queue: str) -> None:
    poll = JobClient(client, task_queue=queue).continuous(Poll, new_key())
    await client.start_workflow("Foreign", id=poll.instance_id, task_queue=queue)
    with pytest.raises(JobsError, match=r"'Foreign'.*nothing was deleted"):
        await poll.erase()
    found = await looked_at(client, poll.instance_id)
    assert found is not None
    assert not is_over(found)


async def test_a_pool_is_erased_whole_or_by_index(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Deliver()) as jobs:
        pool = jobs.worker_pool(Deliver)
        await pool.enqueue_many([Hook(to="alice") for _ in range(6)])
        await eventually(lambda: handled(pool))
        [receipt] = await pool.erase(index=1)
        assert receipt.instance_id == "workerPool:deliver:1"
        assert [status.key for status in (await pool.status()).instances] == ["0", "2"]
        await pool.terminate()
        assert {each.instance_id[-1] for each in await pool.erase()} == {"0", "2"}
        assert (await pool.status()).instances == ()
        assert await pool.erase() == ()


async def handled(pool: WorkerPoolHandle[Hook]) -> bool:
    return (await pool.status()).handled_events == 6


async def test_an_operator_erases_several_after_a_yes(
    server: EmbeddedServer, client: Client, jobs: JobClient
) -> None:
    operate = Operator(server.target)
    polls = [jobs.continuous(Poll, new_key()) for _ in range(2)]
    for poll in polls:
        await poll.start()
    ids = [poll.instance_id for poll in polls]
    assert "say --yes" in await operate("erase", *ids, code=2)
    assert await looked_at(client, ids[0]) is not None
    said = await operate("erase", *ids, "--yes")
    for each in ids:
        assert f"{each}, which was ended: 1 Temporal runs deleted" in said
        assert await looked_at(client, each) is None
    assert f"Temporal has nothing of {ids[0]}" in await operate("erase", ids[0], "--yes", code=3)
    assert "is no instance ID" in await operate("erase", "nonsense:x", "--yes", code=2)


async def test_an_operator_hears_that_no_worker_ends_it(
    server: EmbeddedServer, client: Client, queue: str
) -> None:
    poll = JobClient(client, task_queue=queue).continuous(Poll, new_key())
    await poll.start()
    words = ("erase", poll.instance_id, "--yes", "--timeout", "1")
    assert "Nothing was deleted" in await Operator(server.target)(*words, code=4)
