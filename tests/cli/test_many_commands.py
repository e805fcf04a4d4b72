"""`list`, and the verbs for several instances, as processes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import JobClient
from durable_jobs.cli import listing
from durable_jobs.cli.choose import Choice
from durable_jobs.cli.table import summary_of
from durable_jobs.cli.verbs import is_one
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles.connection import Connection
from durable_jobs.link import Link
from durable_jobs.many.finding import Finder
from tests.many.jobs import Digest, Poll, Service
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, status_of
from tests.support.operating import Operator


@pytest.fixture
def operate(server: EmbeddedServer) -> Operator:
    return Operator(server.target)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def prefix() -> str:
    """What the keys of this test begin with, which no other test has."""
    return f"{new_key()}-"


@pytest.fixture
async def jobs(client: Client, queue: str, service: Service) -> AsyncIterator[JobClient]:
    async with running_worker(client, queue, Poll(service), Digest()) as jobs:
        yield jobs


async def started(jobs: JobClient, prefix: str, count: int) -> list[str]:
    """The IDs of instances that are alive, and that visibility knows."""
    handles = [jobs.continuous(Poll, f"{prefix}{number:03}") for number in range(count)]
    await asyncio.gather(*(handle.start() for handle in handles))

    async def known() -> bool:
        return len([each async for each in jobs.list(Poll, key_prefix=prefix)]) == count

    await eventually(known)
    return [handle.instance_id for handle in handles]


async def test_an_operator_finds_what_fails_and_retries_all_of_it(
    jobs: JobClient, service: Service, operate: Operator, prefix: str
) -> None:
    ids = await started(jobs, prefix, 4)
    service.down = {f"{prefix}000", f"{prefix}001"}
    chosen = ("--job", "poll", "--key-prefix", prefix)
    said = await operate("trigger", *ids[:2])
    assert "2 triggered" in said
    assert "if this is cut off, add --operation" in said

    async def failing() -> str | None:
        shown = await operate("list", *chosen, "--failing")
        return shown if "2 found" in shown else None

    shown = await eventually(failing, every=0.2)
    assert "ConnectionError: the service is down" in shown
    assert ids[2] not in shown
    assert "continuous:poll 2" in shown
    assert "4 were asked one by one" in shown
    assert "nothing was sent: say --yes" in await operate("trigger", *chosen, "--failing", code=2)
    service.down = set()
    said = await operate("trigger", *chosen, "--failing", "--yes")
    assert "2 to trigger: continuous:poll 2" in said
    await eventually(lambda: sorted(service.calls) == [f"{prefix}000", f"{prefix}001"])
    assert "4 terminated" in await operate("terminate", *ids)


async def test_a_list_is_sorted_counted_cut_and_printed_for_machines(
    jobs: JobClient, operate: Operator, prefix: str
) -> None:
    ids = await started(jobs, prefix, 4)
    chosen = ("--type", "continuous", "--key-prefix", prefix)
    await jobs.continuous(Poll, f"{prefix}002").pause()
    shown = await operate("list", *chosen, "--limit", "2")
    assert shown.index(ids[0]) < shown.index(ids[1])
    assert ids[2] not in shown
    assert "4 found: continuous:poll 4\n" in shown
    assert "the first 2 are shown, --limit 0 shows all" in shown
    shown = await operate("list", *chosen, "--sort", "status")
    assert shown.index(ids[2]) < shown.index(ids[0])
    assert "scheduled 3, paused 1" in shown
    answer: dict[str, Any] = json.loads(await operate("list", *chosen, "--json"))
    assert answer["total"] == 4
    assert answer["jobs"] == {"continuous:poll": 4}
    assert [each["status"] for each in answer["instances"]] == [
        "scheduled", "scheduled", "paused", "scheduled",
    ]  # fmt: skip
    assert "no instance fits the choice" in await operate("list", *chosen, "--status", "failed")
    await operate("terminate", *ids, "--json")


async def test_of_very_many_the_newest_are_shown_and_the_others_counted(
    jobs: JobClient, client: Client, queue: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await started(jobs, prefix, 4)
    await jobs.continuous(Poll, f"{prefix}newest").start()
    ids.append(jobs.continuous(Poll, f"{prefix}newest").instance_id)
    monkeypatch.setattr(listing, "_MANY", 4)

    async def found(sort: str | None) -> listing.Listing:
        finder = Finder(Connection(Link(client), queue), timedelta(seconds=10))
        plan = listing.Plan(Choice(job="poll", key_prefix=prefix), sort, 1, timedelta(seconds=10))
        return await listing.gather(finder, plan.choice.selection(), plan)

    async def newest() -> bool:
        answer = await found(None)
        return answer.newest and [each.found.id for each in answer.shown] == ids[-1:]

    await eventually(newest)
    answer = await found(None)
    assert (answer.total, answer.jobs) == (5, {"continuous:poll": 5})
    assert answer.shown[0].status is not None
    assert "the newest 1 are shown" in summary_of(answer)
    by_id = await found("id")
    assert [each.found.id for each in by_id.shown] == ids[:1]
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_a_pause_that_was_killed_in_the_middle_does_the_rest_when_made_again(
    jobs: JobClient, server: EmbeddedServer, operate: Operator, prefix: str
) -> None:
    ids = await started(jobs, prefix, 20)
    words = ("pause", "--job", "poll", "--key-prefix", prefix, "--yes", "--note", "ada: deploy")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durable_jobs.cli", *words, "--rate", "5"),
        env={**os.environ, "TEMPORAL_ADDRESS": server.target},
    )

    async def paused() -> dict[str, Any]:
        found = jobs.list(Poll, key_prefix=prefix, status="paused")
        return {each.instance_id: each.paused_at async for each in found}

    async def some() -> bool:
        return len(await paused()) >= 3

    await eventually(some)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    before = await paused()
    assert 3 <= len(before) < 20
    said = await operate(*words)
    assert f"{20 - len(before)} paused, {len(before)} paused already" in said
    after = await paused()
    assert after.keys() == set(ids)
    assert {each: after[each] for each in before} == before
    assert "20 paused already" in await operate(*words)
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_ctrl_c_says_how_far_it_got_and_how_to_go_on(
    jobs: JobClient, server: EmbeddedServer, prefix: str
) -> None:
    ids = await started(jobs, prefix, 20)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "durable_jobs.cli", "trigger", *ids, "--rate", "5"),
        env={**os.environ, "TEMPORAL_ADDRESS": server.target},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    hint = (await process.stderr.readline()).decode()
    operation = hint.partition("--operation ")[2].split()[0]
    process.send_signal(signal.SIGINT)
    said = (await process.communicate())[1].decode()
    assert process.returncode == 130
    assert "stopped after" in said
    assert f"give the command again with --operation {operation} for the rest" in said
    await jobs.terminate_all(Poll, key_prefix=prefix)


async def test_each_failure_is_reported_and_the_others_are_told(
    jobs: JobClient, client: Client, operate: Operator, prefix: str
) -> None:
    alive = jobs.debounce(Digest, f"{prefix}alive")
    await alive.add("a")
    silent = JobClient(client, task_queue=f"{prefix}silent")
    unheard = silent.debounce(Digest, f"{prefix}unheard")
    await unheard.add("a")
    gone = f"debounce:digest:{prefix}gone"
    said = await operate(
        "clear", alive.instance_id, unheard.instance_id, gone, "--timeout", "1", code=1
    )
    assert f"{unheard.instance_id} failed: no worker answered within 1 s" in said
    assert "1 cleared (1 event), 1 not alive, 1 failed" in said
    await unheard.terminate()


async def test_what_is_named_by_parts_is_one_instance(
    jobs: JobClient, operate: Operator, prefix: str
) -> None:
    await started(jobs, prefix, 1)
    assert "pause was sent" in await operate("pause", "continuous", "poll", f"{prefix}000")
    status = await status_of(jobs.continuous(Poll, f"{prefix}000"))
    assert status.status == "paused"
    await jobs.terminate_all(Poll, key_prefix=prefix)
    assert is_one(["continuous:poll:a"])
    assert not is_one(["continuous:poll:a", "continuous:poll:b", "continuous:poll:c"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pause",), "name the instances to pause, or choose them"),
        (("pause", "continuous:poll:a", "--job", "poll"), "not both"),
        (("flush", "continuous:poll:a", "debounce:digest:a"), "continuous jobs take no flush"),
        (("flush", "--type", "task"), "task jobs take no flush; debounce jobs do"),
        (("list", "--status", "broken"), "status is one of scheduled"),
        (("list", "--sort", "size"), "--sort is one of id"),
        (("list", "--watch", "--json"), "does not go with --json"),
        (("redrive", "--job", "triage", "--event", "e1"), "--event goes with one instance"),
    ],
)
async def test_a_wrong_choice_is_refused(
    operate: Operator, words: tuple[str, ...], message: str
) -> None:
    assert message in await operate(*words, code=2)


async def test_a_choice_that_means_nothing_is_told_from_one_that_is_done(
    operate: Operator,
) -> None:
    assert "no instance fits the choice" in await operate(
        "pause", "--job", "unheard-of", "--key-prefix", "a", code=3
    )
