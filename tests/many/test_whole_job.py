"""A whole job paused, its instances to come included, on a real server."""

import json
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from durable_jobs import InvalidArgument, JobClient, TaskJob, TaskRun
from durable_jobs.embedded import EmbeddedServer
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, status_of
from tests.support.operating import Operator

RAN: list[str] = []


class Report(TaskJob[str, int]):
    """No other test pauses a job of this name: a pause holds in the whole namespace."""

    name = "whole-report"

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        RAN.append(run.key)

    async def execute(self, run: TaskRun[int]) -> None: ...


@pytest.fixture
async def jobs(client: Client, queue: str) -> AsyncIterator[JobClient]:
    RAN.clear()
    async with running_worker(client, queue, Report()) as jobs:
        yield jobs
        await ended(jobs)


async def ended(jobs: JobClient) -> None:
    """End what a test left, so that the next one finds nothing of it."""
    await jobs.resume_all(Report)
    await jobs.terminate_all(Report)

    async def none_is_left() -> bool:
        return not [status async for status in jobs.list(Report)]

    await eventually(none_is_left)


async def sent(jobs: JobClient) -> str:
    """The key of a new instance that has an event."""
    key = new_key()
    await jobs.task(Report, key).send("go")
    return key


async def listed(jobs: JobClient, *keys: str) -> None:
    """Wait until visibility knows instances, which lags behind."""

    async def all_of_them() -> bool:
        return {*keys} <= {status.key async for status in jobs.list(Report)}

    await eventually(all_of_them)


async def test_instances_that_begin_while_a_job_is_paused_run_once_it_is_resumed(
    jobs: JobClient, client: Client
) -> None:
    old = await sent(jobs)
    await eventually(lambda: old in RAN)
    await listed(jobs, old)
    result = await jobs.pause_all(Report, "ada: the API is down")
    assert (result.job, result.done) == (True, 1)
    new = await sent(jobs)

    async def waits() -> bool:
        return (await status_of(jobs.task(Report, new))).paused_by == "job"

    await eventually(waits)
    status = await status_of(jobs.task(Report, new))
    assert (status.status, status.pause_note) == ("paused", "ada: the API is down")
    assert new not in RAN
    await listed(jobs, old, new)
    result = await jobs.resume_all(Report, "ada: it is up again")
    assert (result.job, result.done) == (True, 2)
    await eventually(lambda: [old, new] == RAN)


async def test_a_job_can_be_paused_before_it_has_an_instance_and_while_no_worker_runs(
    client: Client, queue: str
) -> None:
    RAN.clear()
    jobs = JobClient(client, task_queue=queue)
    assert (await jobs.pause_all(Report)).job
    key = await sent(jobs)
    async with running_worker(client, queue, Report()):

        async def waits() -> bool:
            return (await status_of(jobs.task(Report, key))).status == "paused"

        await eventually(waits)
        assert not RAN
        assert (await jobs.resume_all(Report)).job
        await eventually(lambda: [key] == RAN)
        await ended(jobs)


async def test_only_a_whole_job_is_paused_for_instances_to_come(jobs: JobClient) -> None:
    assert not (await jobs.pause_all(Report, key_prefix="acct-")).job
    key = await sent(jobs)
    await eventually(lambda: [key] == RAN)
    assert not (await jobs.resume_all(Report)).job
    with pytest.raises(InvalidArgument, match="there is no option"):
        await jobs.pause_all(Report, prefix="acct-")  # type: ignore[call-arg]


async def test_an_operator_pauses_a_job_sees_that_it_is_and_resumes_it(
    jobs: JobClient, server: EmbeddedServer
) -> None:
    operate = Operator(server.target)
    words = ("--job", "whole-report", "--note", "ada: deploy")
    assert "nothing was sent: say --yes" in await operate("pause", *words, code=2)
    said = await operate("pause", *words, "--yes")
    assert "the job whole-report with all instances to come" in said
    assert "the job whole-report is paused as a whole; 0 paused" in said
    key = await sent(jobs)

    async def seen() -> str | None:
        shown = await operate("list", "--job", "whole-report")
        return shown if "the job whole-report is paused as a whole" in shown else None

    assert "(ada: deploy)" in await eventually(seen, every=0.2)
    answer = json.loads(await operate("list", "--job", "whole-report", "--json"))
    assert answer["pausedJobs"] == {"whole-report": "ada: deploy"}
    shown = await operate("status", f"task:whole-report:{key}")
    assert "with its whole job" in shown
    await listed(jobs, key)
    said = await operate("resume", "--job", "whole-report", "--yes")
    assert "the job whole-report is resumed as a whole; 1 resumed" in said
    await eventually(lambda: [key] == RAN)
