"""The operator's commands on an instance of a pool."""

import json

import pytest
from temporalio.client import Client

from durable_jobs.cli.remote import Trouble, instance_of
from durable_jobs.embedded import EmbeddedServer
from tests.cli.test_operate_command import Operator
from tests.support import eventually
from tests.worker_pool.conftest import Running
from tests.worker_pool.jobs import Flaky, Hook, Watched, fresh


async def test_an_operator_looks_at_an_instance_redrives_clears_and_drains_it(
    running: Running, server: EmbeddedServer, client: Client
) -> None:
    operate = Operator(server.target)
    flaky = Flaky(final=True)
    job = fresh(Watched)(flaky)
    instance = f"workerPool:{job.name}:0"
    async with running(job) as pool:
        await pool.enqueue(Hook(n=-1), id="bad")
        await eventually(lambda: job.notes.dead)
        shown = await operate("status", instance)
        assert "0 waiting" in shown
        assert "no receiver for -1" in shown
        assert "worker_pool" not in shown
        flaky.broken = False
        assert "1 event queued again" in await operate("redrive", instance, "--event", "bad")
        await eventually(lambda: job.notes.numbers() == [-1])

        assert "paused" in await operate("pause", instance)
        await pool.enqueue_many([Hook(n=1), Hook(n=2)])
        shown = await operate("status", "workerPool", job.name, "0")
        assert "2 waiting, the oldest since" in shown
        await operate("trigger", instance)
        await eventually(lambda: job.notes.numbers() == [-1, 1])
        assert "1 event dropped" in await operate("clear", instance)
        await operate("resume", instance)
        answer = json.loads(await operate("drain", instance, "--json"))
        assert (answer["sent"], answer["status"]["draining"]) == ("drain", True)
        ended = await client.get_workflow_handle(instance).result()
        assert ended["reason"] == "drained"

        shown = await operate("state", instance, code=2)
        assert "workerPool jobs have no state" in shown
        shown = await operate("flush", instance, code=2)
        assert "workerPool jobs take no flush; they take" in shown
        assert "not alive" in await operate("drain", instance, code=3)


@pytest.mark.parametrize("key", ["first", "01", "1000"])
def test_an_instance_of_a_pool_is_named_by_its_index(key: str) -> None:
    with pytest.raises(Trouble, match="its index, 0 to 999"):
        instance_of([f"workerPool:deliver:{key}"])
    assert instance_of(["workerPool", "deliver", "7"]) == "workerPool:deliver:7"
