"""Code that changes under living continuous instances."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Cron, Every, JobsPlugin
from durable_jobs.definitions import Job
from durable_jobs.handles import ContinuousHandle
from durable_jobs.wire import JSON
from tests.support import eventually
from tests.support.jobs import (
    at_most,
    last_error_of,
    new_key,
    running_worker,
    status_of,
    until_run,
    until_status,
)
from tests.support.lives import assert_replays, histories_of

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=100)


class Cursor(BaseModel):
    page: int = 0


class Poll(ContinuousJob[Cursor]):
    name = "changing"
    schedule = Every(HOUR)
    start_immediately = False
    retry = at_most(2)

    async def execute(self, run: ContinuousRun[Cursor]) -> None:
        run.state.page += 1


async def _lived(client: Client, queue: str) -> ContinuousHandle[Cursor]:
    """An instance that has made two runs under the old code."""
    async with running_worker(client, queue, Poll()) as jobs:
        poll = jobs.continuous(Poll, new_key())
        await poll.start()
        for count in (1, 2):
            await poll.trigger()
            await until_run(poll, count)
    return poll


async def _all_replay(client: Client, queue: str, *versions: Job) -> None:
    histories = await histories_of(client, queue)
    assert histories
    for version in versions:
        await assert_replays(histories, JobsPlugin([version]))


async def _goes_on(client: Client, queue: str, poll: ContinuousHandle[Any], job: Job) -> Any:
    """Make one more run under new code; gives the raw state after it."""
    async with running_worker(client, queue, job):
        before = (await status_of(poll)).run_count
        await poll.trigger()
        await until_run(poll, before + 1)
        assert (await status_of(poll)).last_error is None
        state = await client.get_workflow_handle(poll.instance_id).query("state")
        await poll.terminate()
        await until_status(poll, "terminated")
    await _all_replay(client, queue, Poll(), job)
    return state


async def test_a_new_field_with_a_default_needs_no_upgrade(client: Client, queue: str) -> None:
    class Wider(Cursor):
        seen: list[str] = ["new"]

    class Newer(ContinuousJob[Wider]):
        name, schedule = Poll.name, Poll.schedule

        async def execute(self, run: ContinuousRun[Wider]) -> None:
            run.state.page += 10

    poll = await _lived(client, queue)
    assert await _goes_on(client, queue, poll, Newer()) == {"page": 12, "seen": ["new"]}


class Counted(BaseModel):
    pages_read: int
    source: str


class Upgraded(ContinuousJob[Counted]):
    name, schedule, retry = Poll.name, Poll.schedule, Poll.retry
    state_version = 2

    def initial_state(self, key: str) -> Counted:
        return Counted(pages_read=0, source=key)

    def upgrade_state(self, version: int, data: JSON) -> JSON:
        return {"pages_read": data["page"], "source": f"version {version}"}

    async def execute(self, run: ContinuousRun[Counted]) -> None:
        run.state.pages_read += 1


class NotUpgraded(Upgraded):
    state_version = 1
    upgrade_state = Job.upgrade_state


async def test_a_state_of_another_shape_is_upgraded(client: Client, queue: str) -> None:
    poll = await _lived(client, queue)
    state = await _goes_on(client, queue, poll, Upgraded())
    assert state == {"pages_read": 3, "source": "version 1"}


async def test_a_state_that_no_longer_fits_is_reported_and_kept_until_code_comes_that_reads_it(
    client: Client, queue: str
) -> None:
    poll = await _lived(client, queue)
    async with running_worker(client, queue, NotUpgraded()):
        await poll.trigger()
        error = await last_error_of(poll)
        assert "the stored state (version 1) does not fit" in error
        assert "Raise state_version and write upgrade_state" in error
        status = await until_status(poll, "scheduled")
        assert status.run_count == 3
    state = await _goes_on(client, queue, poll, Upgraded())
    assert state == {"pages_read": 3, "source": "version 1"}


async def test_an_upgrade_that_fails_keeps_the_state(client: Client, queue: str) -> None:
    class Wrong(Upgraded):
        def upgrade_state(self, version: int, data: JSON) -> JSON:
            raise KeyError("pagse")

    poll = await _lived(client, queue)
    async with running_worker(client, queue, Wrong()):
        await poll.trigger()
        assert "pagse" in await last_error_of(poll)
        await until_status(poll, "scheduled")
    assert (await _goes_on(client, queue, poll, Upgraded()))["pages_read"] == 3


async def test_a_class_and_its_methods_may_be_renamed(client: Client, queue: str) -> None:
    class Fetcher(ContinuousJob[Cursor]):
        name, schedule = Poll.name, Poll.schedule

        def execute(self, run: ContinuousRun[Cursor]) -> None:  # type: ignore[override]
            self.turn(run)

        def turn(self, run: ContinuousRun[Cursor]) -> None:
            run.state = Cursor(page=run.state.page * 100)

    poll = await _lived(client, queue)
    assert await _goes_on(client, queue, poll, Fetcher()) == {"page": 200}


async def test_a_job_that_was_renamed_waits_and_says_so_until_its_name_is_known_again(
    client: Client, queue: str
) -> None:
    class Renamed(Poll):
        name = "changed"

    poll = await _lived(client, queue)
    async with running_worker(client, queue, Renamed()):
        await poll.trigger()
        assert "changing" in await last_error_of(poll)
    assert await _goes_on(client, queue, poll, Poll()) in ({"page": 3}, {"page": 4})


async def test_a_changed_schedule_and_retry_hold_after_the_next_run(
    client: Client, queue: str
) -> None:
    tried: list[int] = []

    class Changed(Poll):
        schedule = Every(SOON)
        retry = at_most(4)

        async def execute(self, run: ContinuousRun[Cursor]) -> None:
            await super().execute(run)
            if run.run_count == 4:
                tried.append(run.attempt)
                raise ValueError("never works")

    poll = await _lived(client, queue)
    async with running_worker(client, queue, Changed()):
        assert (await status_of(poll)).schedule == {"every": 3600.0}
        await poll.trigger()
        await until_run(poll, 6)
        status = await status_of(poll)
        assert status.schedule == {"every": 0.1}
        await poll.terminate()
        await until_status(poll, "terminated")
    assert tried == [1, 2, 3, 4]
    await _all_replay(client, queue, Poll(), Changed())


async def test_an_interval_may_become_a_cron_line(client: Client, queue: str) -> None:
    class Yearly(Poll):
        schedule = Cron("0 9 1 1 *", timezone="Europe/Berlin")

    poll = await _lived(client, queue)
    async with running_worker(client, queue, Yearly()):
        await poll.trigger()

        async def planned() -> bool:
            at = (await status_of(poll)).next_run_at
            return at is not None and (at.month, at.day, at.hour) == (1, 1, 8)

        await eventually(planned)
        await poll.terminate()
        await until_status(poll, "terminated")
    await _all_replay(client, queue, Poll(), Yearly())


async def test_ticks_still_to_be_caught_up_on_outlive_a_change_of_other_options(
    client: Client, queue: str
) -> None:
    class Eager(Poll):
        schedule = Every(SOON * 3)
        start_immediately = True
        catch_up = "all"

    class Patient(Eager):
        retry = at_most(9)

        def __init__(self) -> None:
            self.runs: list[ContinuousRun[Cursor]] = []

        async def execute(self, run: ContinuousRun[Cursor]) -> None:
            self.runs.append(run)

    async with running_worker(client, queue, Eager()) as jobs:
        eager = jobs.continuous(Eager, new_key())
        await eager.start()
        started_at = (await until_run(eager, 1)).started_at
        await until_status(eager, "scheduled")
    ran, job = (await _count(client, eager)), Patient()
    await eventually(lambda: _passed(started_at + SOON * 14))
    async with running_worker(client, queue, job):
        await eventually(lambda: len(job.runs) >= 5)
        await eager.terminate()
    dues = [run.due_at for run in job.runs]
    assert dues == [started_at + n * SOON * 3 for n in range(ran, ran + len(dues))]


async def _count(client: Client, handle: ContinuousHandle[Any]) -> int:
    history = await client.get_workflow_handle(handle.instance_id).fetch_history()
    kinds = [event.WhichOneof("attributes") for event in history.events]
    return kinds.count("activity_task_completed_event_attributes")


def _passed(moment: Any) -> bool:
    from datetime import UTC, datetime

    return datetime.now(UTC) > moment
