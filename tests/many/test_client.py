"""Instances found and told by a client, on a real server."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousRun, JobClient, NoWorker
from durable_jobs.many.acting import BulkResult
from tests.many.jobs import Digest, Poll, Service, Triage
from tests.support import eventually
from tests.support.jobs import (
    at_most,
    history_of,
    new_key,
    running_worker,
    status_of,
    until_run,
    until_status,
)


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def prefix() -> str:
    """What the keys of this test begin with, which no other test has."""
    return f"{new_key()}-"


@pytest.fixture
async def jobs(client: Client, queue: str, service: Service) -> AsyncIterator[JobClient]:
    async with running_worker(client, queue, Poll(service), Digest(), Triage(service)) as jobs:
        yield jobs


async def started(jobs: JobClient, prefix: str, count: int) -> list[str]:
    """The keys of instances that are alive, and that visibility knows."""
    keys = [f"{prefix}{number:03}" for number in range(count)]
    for key in keys:
        await jobs.continuous(Poll, key).start()
    await eventually(lambda: listed(jobs, prefix, count))
    return keys


async def listed(jobs: JobClient, prefix: str, count: int) -> bool:
    return len([each async for each in jobs.list(Poll, key_prefix=prefix)]) == count


async def keys_of(jobs: JobClient, prefix: str, **which: object) -> set[str]:
    found = jobs.list(Poll, key_prefix=prefix, **which)  # type: ignore[arg-type]
    return {status.key async for status in found}


async def test_a_list_tells_what_each_instance_of_a_job_does(
    jobs: JobClient, service: Service, prefix: str
) -> None:
    keys = await started(jobs, prefix, 4)
    service.down = {keys[0], keys[1]}
    await jobs.continuous(Poll, keys[0]).trigger()
    await jobs.continuous(Poll, keys[2]).pause()
    assert await keys_of(jobs, prefix) == set(keys)
    await eventually(lambda: keys_of(jobs, prefix, failing=True))
    assert await keys_of(jobs, prefix, failing=True) == {keys[0]}
    assert await keys_of(jobs, prefix, status="paused") == {keys[2]}
    assert await keys_of(jobs, prefix, overdue=True) == set()
    assert await keys_of(jobs, f"{prefix}00") == set(keys)
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_a_list_of_ended_instances_has_each_once_with_its_end(
    jobs: JobClient, prefix: str
) -> None:
    keys = await started(jobs, prefix, 2)
    await jobs.continuous(Poll, keys[0]).terminate("done")
    await eventually(lambda: keys_of(jobs, prefix, status="terminated"))
    assert await keys_of(jobs, prefix, status="terminated") == {keys[0]}
    assert await keys_of(jobs, prefix, status="completed") == set()
    # A new life is alive, and no longer listed as ended.
    await jobs.continuous(Poll, keys[0]).start()
    await eventually(lambda: listed(jobs, prefix, 2))
    assert await keys_of(jobs, prefix, status="terminated") == set()
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_all_are_paused_and_those_paused_already_are_left_alone(
    jobs: JobClient, prefix: str
) -> None:
    keys = await started(jobs, prefix, 5)
    await jobs.continuous(Poll, keys[0]).pause("bob: mine")
    await until_status(jobs.continuous(Poll, keys[0]), "paused")
    told: list[int] = []

    def note(so_far: BulkResult) -> None:
        told.append(so_far.done)

    result = await jobs.pause_all(Poll, "ada: deploy", key_prefix=prefix, told=note)
    assert (result.done, result.already, result.failed) == (4, 1, {})
    assert told == [1, 2, 3, 4]
    assert await keys_of(jobs, prefix, status="paused") == set(keys)
    notes = [(await status_of(jobs.continuous(Poll, key))).pause_note for key in keys]
    assert notes == ["bob: mine"] + 4 * ["ada: deploy"]
    result = await jobs.resume_all(Poll, key_prefix=prefix, status="paused")
    assert result.done == 5
    assert await keys_of(jobs, prefix, status="paused") == set()
    result = await jobs.terminate_all(Poll, "test", key_prefix=prefix)
    assert result.done == 5


async def test_all_that_fail_are_triggered_and_go_on(
    jobs: JobClient, service: Service, prefix: str
) -> None:
    keys = await started(jobs, prefix, 3)
    service.down = set(keys[:2])
    await jobs.trigger_all(Poll, key_prefix=prefix)

    async def fail() -> bool:
        return await keys_of(jobs, prefix, failing=True) == service.down

    await eventually(fail)
    service.down = set()
    result = await jobs.trigger_all(Poll, key_prefix=prefix, failing=True)
    assert result.done == 2
    await eventually(lambda: sorted(service.calls) == sorted(keys))
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_an_operation_that_is_made_again_triggers_no_instance_twice(
    jobs: JobClient, client: Client, service: Service, prefix: str
) -> None:
    keys = await started(jobs, prefix, 3)
    for _ in range(3):
        result = await jobs.trigger_all(Poll, key_prefix=prefix, operation="deploy-7")
        assert result.done == 3
    await eventually(lambda: sorted(service.calls) == keys)
    for key in keys:
        history = await history_of(client, jobs.continuous(Poll, key).instance_id)
        assert history.count("workflow_execution_signaled") == 1
    await jobs.trigger_all(Poll, key_prefix=prefix, operation="deploy-8")
    await eventually(lambda: sorted(service.calls) == sorted(2 * keys))
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_waiting_events_are_dropped_and_failed_ones_queued_again_and_counted(
    jobs: JobClient, service: Service, prefix: str
) -> None:
    for number in range(3):
        await jobs.debounce(Digest, f"{prefix}{number}").add_many(["a", "b"])
    service.down = {f"{prefix}bad"}
    triage = jobs.task(Triage, prefix)
    await triage.send(f"{prefix}bad")
    await triage.send(f"{prefix}good")

    async def set_aside() -> bool:
        return bool((await status_of(triage)).failed_events)

    await eventually(set_aside)
    await eventually(lambda: len_of(jobs, prefix, 3))
    dropped = await jobs.clear_all(Digest, key_prefix=prefix)
    assert (dropped.done, dropped.events) == (3, 6)
    service.down = set()
    queued = await jobs.redrive_all(Triage, key_prefix=prefix, failing=True)
    assert (queued.done, queued.events) == (1, 1)
    await eventually(lambda: f"{prefix}bad" in service.calls)
    assert (await jobs.redrive_all(Triage, key_prefix=prefix)).already == 1
    await jobs.terminate_all(Triage, key_prefix=prefix)


async def len_of(jobs: JobClient, prefix: str, count: int) -> bool:
    return len([each async for each in jobs.list(Digest, key_prefix=prefix)]) == count


async def test_without_a_worker_a_list_says_so_and_a_verb_is_sent_all_the_same(
    client: Client, queue: str, prefix: str, service: Service
) -> None:
    jobs = JobClient(client, task_queue=queue)
    keys = [f"{prefix}{number}" for number in range(3)]
    for key in keys:
        await jobs.continuous(Poll, key).start()

    async def told() -> bool:
        return "3 instances gave no answer" in str(await silence())

    async def silence() -> NoWorker | None:
        quick = timedelta(milliseconds=500)
        try:
            assert not [each async for each in jobs.list(Poll, key_prefix=prefix, timeout=quick)]
        except NoWorker as error:
            return error
        return None

    await eventually(told)
    quick = timedelta(milliseconds=500)
    undecided = await jobs.resume_all(Poll, key_prefix=prefix, status="paused", timeout=quick)
    assert (undecided.done, len(undecided.unanswered)) == (0, 3)
    assert (await jobs.pause_all(Poll, key_prefix=prefix, timeout=quick)).done == 3
    async with running_worker(client, queue, Poll(service)):
        for key in keys:
            await until_status(jobs.continuous(Poll, key), "paused")
        await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_what_fails_with_one_instance_is_told_and_keeps_no_other_from_being_told(
    jobs: JobClient, client: Client, queue: str, service: Service, prefix: str
) -> None:
    service.down = {"bad"}
    heard = jobs.task(Triage, f"{prefix}heard")
    unheard = JobClient(client, task_queue=f"{queue}-silent").task(Triage, f"{prefix}unheard")
    await heard.send("bad")
    await unheard.send("bad")

    async def redriven() -> BulkResult | None:
        quick = timedelta(seconds=1)
        result = await jobs.redrive_all(Triage, key_prefix=prefix, timeout=quick)
        return result if result.done and result.failed else None

    result = await eventually(redriven)
    assert (result.done, result.events) == (1, 1)
    assert result.failed.keys() == {unheard.instance_id}
    assert "no worker answered within 1 s" in result.failed[unheard.instance_id]
    await jobs.terminate_all(Triage, key_prefix=prefix)
    async with running_worker(client, f"{queue}-silent", Triage(service)):
        await until_status(unheard, "terminated")


async def test_an_option_that_is_wrong_is_refused_before_anything_is_sent(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    for wrong in ({"rate": 0}, {"rate": "fast"}, {"status": "broken"}, {"timeout": 5}):
        with pytest.raises(ValueError, match=r"rate|status|timeout"):
            await jobs.pause_all(Poll, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="take no flush"):
        await jobs.flush_all(Poll)


class Parent(Poll):
    """Triggers the instances whose keys begin with its own."""

    name = "parent"
    retry = at_most(2)

    async def execute(self, run: ContinuousRun[int]) -> None:
        await run.jobs.trigger_all(Poll, key_prefix=f"{run.key}-0")
        if not run.is_retry:
            raise ConnectionError("after the effect")


async def test_a_run_whose_attempts_repeat_tells_each_instance_once(
    client: Client, queue: str, service: Service, prefix: str
) -> None:
    async with running_worker(client, queue, Poll(service), Parent(service)) as jobs:
        keys = await started(jobs, prefix, 2)
        parent = jobs.continuous(Parent, prefix.removesuffix("-"))
        await parent.start()
        await parent.trigger()
        done = await until_run(parent, 1)
        assert (done.run_count, done.last_error) == (1, None)
        await eventually(lambda: sorted(service.calls) == keys)
        for key in keys:
            history = await history_of(client, jobs.continuous(Poll, key).instance_id)
            assert history.count("workflow_execution_signaled") == 1
        await jobs.terminate_all(Poll, key_prefix=prefix)
        await parent.terminate()
