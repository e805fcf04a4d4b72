"""The search attribute `JobStatus`: by it Temporal itself finds what is paused or fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.worker import Replayer

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.cli.setup import create_job_status
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.many.acting import BulkResult
from durable_jobs.workflows import carry
from tests.many.jobs import Digest, Poll, Service, Triage
from tests.support import eventually
from tests.support.jobs import (
    history_of,
    new_key,
    running_worker,
    status_of,
    until_status,
    went_on,
)
from tests.support.operating import Operator


@pytest.fixture(scope="module")
async def early() -> str:
    """The key of an instance that began before the attribute was there."""
    return new_key()


@pytest.fixture(scope="module")
async def server(early: str) -> AsyncIterator[EmbeddedServer]:
    """A server of these tests alone, on which `setup` has run."""
    async with EmbeddedServer(ui=False) as server:
        client = await Client.connect(server.target)
        await JobClient(client, "early").continuous(Poll, early).start()
        said = await Operator(server.target)("setup")
        assert "search attribute JobStatus is made in the namespace 'default'" in said
        yield server


@pytest.fixture(scope="module")
async def client(server: EmbeddedServer) -> Client:
    return await Client.connect(server.target)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def jobs(client: Client, queue: str, service: Service) -> AsyncIterator[JobClient]:
    async with running_worker(client, queue, Poll(service), Digest(), Triage(service)) as jobs:
        yield jobs


async def found_by(client: Client, word: str, key: str) -> bool:
    """Whether Temporal's visibility finds the one instance with this key by a word."""
    query = f"JobStatus = '{word}' AND ExecutionStatus = 'Running'"
    return any([run.id.endswith(f":{key}") async for run in client.list_workflows(query)])


async def test_temporal_finds_what_is_paused_and_what_fails_until_it_goes_on(
    jobs: JobClient, client: Client, service: Service
) -> None:
    key = new_key()
    poll = jobs.continuous(Poll, key)
    await poll.start()
    await eventually(lambda: found_by(client, "ok", key))
    service.down = {key}
    await poll.trigger()
    await eventually(lambda: found_by(client, "failing", key))
    await poll.pause()
    await eventually(lambda: found_by(client, "paused", key))
    assert await found_by(client, "failing", key)
    service.down = set()
    await poll.trigger()
    await poll.resume()
    await eventually(lambda: found_by(client, "ok", key))
    assert not await found_by(client, "failing", key)
    changes = (await history_of(client, poll.instance_id)).count(
        "upsert_workflow_search_attributes"
    )
    assert changes <= 4
    await poll.terminate()


async def test_events_that_are_set_aside_count_as_failing_until_they_are_redriven(
    jobs: JobClient, client: Client, service: Service
) -> None:
    key = new_key()
    service.down = {"bad"}
    triage = jobs.task(Triage, key)
    await triage.send("bad")
    await triage.send("good")
    await eventually(lambda: found_by(client, "failing", key))
    service.down = set()
    assert await triage.redrive() == 1
    await eventually(lambda: found_by(client, "ok", key))
    await triage.terminate()


async def test_an_ordinary_window_has_the_attribute_and_no_event_of_history_for_it(
    jobs: JobClient, client: Client
) -> None:
    digest = jobs.debounce(Digest, new_key())
    await digest.add("a")
    await digest.flush()
    await until_status(digest, "completed")
    description = await client.get_workflow_handle(digest.instance_id).describe()
    assert list(description.search_attributes["JobStatus"]) == ["ok"]
    history = await history_of(client, digest.instance_id)
    assert "upsert_workflow_search_attributes" not in history


async def test_a_list_asks_those_that_the_attribute_names_and_those_that_lack_it(
    jobs: JobClient, server: EmbeddedServer, client: Client, service: Service, early: str
) -> None:
    keys = [new_key() for _ in range(3)]
    for key in keys:
        await jobs.continuous(Poll, key).start()
    service.down = {keys[0], early}
    await jobs.continuous(Poll, keys[0]).trigger()
    async with running_worker(client, "early", Poll(service)) as first:
        old = first.continuous(Poll, early)
        await old.trigger()
        await eventually(lambda: found_by(client, "failing", keys[0]))

        async def old_fails() -> bool:
            return (await status_of(old)).last_error is not None

        await eventually(old_fails)
        failing = {each.key async for each in jobs.list(Poll, failing=True)}
        assert failing == {keys[0], early}
        shown = await Operator(server.target)("list", "--job", "poll", "--failing")
        assert "2 were asked one by one" in shown
        result: BulkResult = await jobs.terminate_all(Poll, failing=True)
        assert result.done == 2


async def test_what_fails_is_found_and_paused_without_a_worker(
    client: Client, server: EmbeddedServer, queue: str, service: Service
) -> None:
    key, operate = new_key(), Operator(server.target)
    chosen = ("--job", "triage", "--key-prefix", key, "--failing", "--timeout", "0.5")
    service.down = {"bad"}
    async with running_worker(client, queue, Triage(service)) as jobs:
        triage = jobs.task(Triage, key)
        await triage.send("bad")
        await eventually(lambda: found_by(client, "failing", key))
    assert "1 found: task:triage 1" in await operate("list", *chosen)
    assert "1 paused" in await operate("pause", *chosen, "--yes")
    async with running_worker(client, queue, Triage(service)):
        await until_status(triage, "paused")
        await triage.terminate()


async def test_what_was_paused_a_moment_ago_is_resumed_though_visibility_lags(
    jobs: JobClient,
) -> None:
    prefix = new_key()
    keys = [f"{prefix}-{number}" for number in range(10)]
    for key in keys:
        await jobs.continuous(Poll, key).start()

    async def known() -> bool:
        return len([each async for each in jobs.list(Poll, key_prefix=prefix)]) == 10

    await eventually(known)
    assert (await jobs.pause_all(Poll, key_prefix=prefix)).done == 10
    assert (await jobs.resume_all(Poll, key_prefix=prefix)).done == 10
    for key in keys:
        assert (await status_of(jobs.continuous(Poll, key))).status == "scheduled"
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_continue_as_new_and_a_replay_keep_the_attribute(
    jobs: JobClient, client: Client, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 60)
    key = new_key()
    poll = jobs.continuous(Poll, key)
    await poll.start()
    service.down = {key}
    await poll.trigger()
    await eventually(lambda: found_by(client, "failing", key))

    async def gone_on() -> bool:
        await poll.trigger()
        return await went_on(client, poll.instance_id)

    await eventually(gone_on)
    await eventually(lambda: found_by(client, "failing", key))
    service.down = set()
    await poll.trigger()
    await eventually(lambda: found_by(client, "ok", key))
    history = await client.get_workflow_handle(poll.instance_id).fetch_history()
    await Replayer(workflows=[], plugins=[JobsPlugin([Poll(service)])]).replay_workflow(history)
    await poll.terminate()


async def test_instances_that_a_client_starts_at_once_all_have_the_attribute(
    server: EmbeddedServer, queue: str
) -> None:
    fresh = await Client.connect(server.target)
    jobs, prefix = JobClient(fresh, queue), new_key()
    started = [jobs.continuous(Poll, f"{prefix}-{number}") for number in range(20)]
    await asyncio.gather(*(each.start() for each in started))
    for each in started:
        found = await fresh.get_workflow_handle(each.instance_id).describe()
        assert list(found.search_attributes["JobStatus"]) == ["ok"]
        await fresh.get_workflow_handle(each.instance_id).terminate()


async def test_setup_says_what_is_there_already(client: Client, server: EmbeddedServer) -> None:
    assert "is there in the namespace 'default'" in await create_job_status(client)
    assert "JobStatus is there" in await Operator(server.target)("setup")
    assert "ok    JobStatus   by this search attribute" in await Operator(server.target)(
        "doctor", code=1
    )
