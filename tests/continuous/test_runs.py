"""A continuous instance: how it starts, what a run sees, how it is driven and how it ends."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecutionStatus

from durable_jobs import ContinuousJob, ContinuousRun, Every, InvalidState
from durable_jobs.handles import ContinuousHandle
from tests.support import eventually
from tests.support.jobs import new_key, result_of, running_worker, status_of, until_status

SOON = timedelta(milliseconds=100)
NEVER = timedelta(hours=1)


class Cursor(BaseModel):
    page: int = 0


class Poll(ContinuousJob[Cursor]):
    """Turns a page with each run, and notes the runs."""

    name = "poll"
    schedule = Every(SOON)

    def __init__(self) -> None:
        self.runs: list[ContinuousRun[Cursor]] = []

    async def execute(self, run: ContinuousRun[Cursor]) -> None:
        run.state.page += 1
        self.runs.append(run)


class SlowPoll(Poll):
    """Runs once at its start, then in an hour."""

    schedule = Every(NEVER)


# -- starting -------------------------------------------------------------------------------


async def test_the_first_tick_runs_at_once(client: Client, queue: str) -> None:
    job = SlowPoll()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        await poll.start()
        [run] = await eventually(lambda: job.runs)
        status = await eventually(poll.status)
        assert run.due_at == status.started_at
        await poll.terminate()


async def test_start_immediately_false_waits_for_the_first_interval(
    client: Client, queue: str
) -> None:
    class Later(Poll):
        start_immediately = False

    job = Later()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(Later, new_key())
        await poll.start()
        await eventually(lambda: job.runs)
        status = await poll.status()
        assert status is not None
        assert job.runs[0].due_at >= status.started_at + SOON
        await poll.terminate()


async def test_state_is_carried_from_run_to_run(client: Client, queue: str) -> None:
    pages: list[int] = []

    class Reader(Poll):
        async def execute(self, run: ContinuousRun[Cursor]) -> None:
            pages.append(run.state.page)
            run.state = Cursor(page=run.state.page + 1)

    async with running_worker(client, queue, Reader()) as jobs:
        poll = jobs.continuous(Reader, new_key())
        await poll.start()
        await eventually(lambda: len(pages) >= 4)
        await poll.terminate()
    assert pages == list(range(len(pages)))


async def test_the_first_state_comes_from_the_call_of_start(client: Client, queue: str) -> None:
    async with running_worker(client, queue, SlowPoll()) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        await poll.start(Cursor(page=41))
        await eventually(lambda: _page(poll, 42))
        await poll.terminate()


async def test_the_first_state_comes_from_initial_state_and_its_key(
    client: Client, queue: str
) -> None:
    class Own(SlowPoll):
        start_immediately = False

        def initial_state(self, key: str) -> Cursor:
            return Cursor(page=len(key))

    async with running_worker(client, queue, Own()) as jobs:
        poll = jobs.continuous(Own, "four")
        await poll.start()
        assert await poll.state() == Cursor(page=4)
        await poll.trigger()
        await eventually(lambda: _page(poll, 5))
        await poll.terminate()


async def test_without_both_the_first_state_is_made_without_arguments(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, SlowPoll()) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        await poll.start()
        await eventually(lambda: _page(poll, 1))
        await poll.terminate()


async def test_starting_a_live_instance_changes_nothing(client: Client, queue: str) -> None:
    job = SlowPoll()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        first = await poll.start(Cursor(page=10))
        await eventually(lambda: _page(poll, 11))
        second = await poll.start(Cursor(page=99))
        assert (first.created, second.created) == (True, False)
        assert first.instance_id == second.instance_id == poll.instance_id
        assert second.status == "scheduled"
        assert await poll.state() == Cursor(page=11)
        assert len(job.runs) == 1
        await poll.terminate()


async def test_an_ended_instance_starts_a_new_life(client: Client, queue: str) -> None:
    job = SlowPoll()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        await poll.start()
        await eventually(lambda: _page(poll, 1))
        await poll.terminate()
        await result_of(client, poll.instance_id)
        assert (await poll.start()).created
        await eventually(lambda: len(job.runs) == 2)
        assert job.runs[1].run_count == 1
        assert job.runs[0].idempotency_key != job.runs[1].idempotency_key
        await poll.terminate()


async def test_a_state_of_another_type_is_refused_before_anything_is_sent(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, SlowPoll()) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        with pytest.raises(InvalidState, match="page") as refused:
            await poll.start({"page": "secret"})  # type: ignore[arg-type]
        assert "secret" not in str(refused.value)
        assert await poll.status() is None


async def test_a_worker_starts_the_instances_its_jobs_name(client: Client, queue: str) -> None:
    class Named(SlowPoll):
        name = f"named-{new_key()}"
        keys = ("first", "second")

    job = Named()
    async with running_worker(client, queue, job) as jobs:
        await eventually(lambda: {run.key for run in job.runs} == {"first", "second"})
        polls = [jobs.continuous(Named, key) for key in Named.keys]
        assert not any([(await poll.start()).created for poll in polls])
        for poll in polls:
            await poll.terminate()


async def test_a_second_worker_leaves_the_named_instances_alone(client: Client, queue: str) -> None:
    class Named(SlowPoll):
        name = f"named-{new_key()}"
        keys = ("one",)

    first, second = Named(), Named()
    async with running_worker(client, queue, first) as jobs:
        poll = jobs.continuous(Named, "one")
        await eventually(lambda: _page(poll, 1))
    async with running_worker(client, queue, second):
        await eventually(lambda: _page(poll, 1))
        assert not second.runs
        await poll.terminate()
        await result_of(client, poll.instance_id)


# -- what a run sees ------------------------------------------------------------------------


async def test_a_run_knows_its_instance_and_its_number(client: Client, queue: str) -> None:
    job = Poll()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(Poll, new_key())
        await poll.start()
        await eventually(lambda: len(job.runs) >= 3)
        await poll.terminate()
    assert {(run.key, run.instance_id, run.job_name) for run in job.runs} == {
        (poll.key, f"continuous:poll:{poll.key}", "poll")
    }
    assert [run.run_count for run in job.runs] == list(range(1, len(job.runs) + 1))
    assert {(run.attempt, run.is_retry) for run in job.runs} == {(1, False)}
    assert len({run.idempotency_key for run in job.runs}) == len(job.runs)
    assert all(run.due_at.tzinfo is not None for run in job.runs)


async def test_a_plain_function_runs_in_a_thread(client: Client, queue: str) -> None:
    class Plain(Poll):
        schedule = Every(NEVER)

        def execute(self, run: ContinuousRun[Cursor]) -> None:  # type: ignore[override]
            assert threading.current_thread() is not threading.main_thread()
            run.state.page += 7

    async with running_worker(client, queue, Plain()) as jobs:
        poll = jobs.continuous(Plain, new_key())
        await poll.start()
        await eventually(lambda: _page(poll, 7))
        await poll.terminate()


class Progressing(SlowPoll):
    """Says how far it is, and waits to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def execute(self, run: ContinuousRun[Cursor]) -> None:
        self.runs.append(run)
        run.progress(3, total=8, message="third of eight")
        await self.go_on.wait()


class ProgressingInAThread(SlowPoll):
    """The same as a plain function."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def execute(self, run: ContinuousRun[Cursor]) -> None:  # type: ignore[override]
        self.runs.append(run)
        run.progress(3, total=8, message="third of eight")
        self.go_on.wait(timeout=10)


@pytest.mark.parametrize("kind", [Progressing, ProgressingInAThread])
async def test_progress_shows_with_the_pending_activity(
    client: Client, queue: str, kind: type[Progressing | ProgressingInAThread]
) -> None:
    job = kind()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(kind, new_key())
        await poll.start()
        handle = client.get_workflow_handle(poll.instance_id)

        async def shown() -> bool:
            pending = (await handle.describe()).raw_description.pending_activities
            details = [
                await client.data_converter.decode(a.heartbeat_details.payloads) for a in pending
            ]
            expected = {"done": 3, "total": 8, "message": "third of eight"}
            return any(detail and detail[0].get("progress") == expected for detail in details)

        await eventually(shown)
        assert [run.attempt for run in job.runs] == [1]
        job.go_on.set()
        await eventually(lambda: _page(poll, 0))
        await poll.terminate()


# -- driving and ending ---------------------------------------------------------------------


async def test_the_verbs_say_where_nothing_lives(client: Client, queue: str) -> None:
    async with running_worker(client, queue, SlowPoll()) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        assert await poll.status() is None
        assert await poll.state() is None
        verbs = (poll.trigger, poll.pause, poll.resume, poll.terminate)
        assert [await verb() for verb in verbs] == [False] * 4
        await poll.start()
        assert [await verb() for verb in verbs] == [True] * 4
        await result_of(client, poll.instance_id)
        assert [await verb() for verb in verbs] == [False] * 4


async def test_terminate_ends_the_instance_with_its_reason(client: Client, queue: str) -> None:
    async with running_worker(client, queue, SlowPoll()) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        await poll.start()
        await eventually(lambda: _page(poll, 1))
        await poll.terminate("moved away")
        assert await result_of(client, poll.instance_id) == {
            "status": "terminated",
            "reason": "moved away",
            "runCount": 1,
            "discardedEvents": 0,
        }
        status = await poll.status()
        assert status is not None
        assert (status.status, status.run_count, status.next_run_at) == ("terminated", 1, None)
        assert await poll.state() == Cursor(page=1)


async def test_a_cancel_of_temporal_is_a_terminate(client: Client, queue: str) -> None:
    async with running_worker(client, queue, SlowPoll()) as jobs:
        poll = jobs.continuous(SlowPoll, new_key())
        await poll.start()
        await eventually(lambda: _page(poll, 1))
        await client.get_workflow_handle(poll.instance_id).cancel()
        result = await result_of(client, poll.instance_id)
        assert (result["status"], result["reason"]) == ("terminated", "cancelled")
        description = await client.get_workflow_handle(poll.instance_id).describe()
        assert description.status is WorkflowExecutionStatus.COMPLETED


async def test_a_run_that_terminates_ends_the_instance_and_keeps_its_state(
    client: Client, queue: str
) -> None:
    class UntilThree(Poll):
        async def execute(self, run: ContinuousRun[Cursor]) -> None:
            run.state.page += 1
            if run.state.page == 3:
                run.terminate("read all")

    async with running_worker(client, queue, UntilThree()) as jobs:
        poll = jobs.continuous(UntilThree, new_key())
        await poll.start()
        result = await result_of(client, poll.instance_id)
        assert result == {
            "status": "terminated",
            "reason": "read all",
            "runCount": 3,
            "discardedEvents": 0,
        }
        assert await poll.state() == Cursor(page=3)


async def test_terminate_cuts_a_run_short(client: Client, queue: str) -> None:
    cut = asyncio.Event()

    class Endless(SlowPoll):
        heartbeat_timeout = timedelta(seconds=1.5)

        async def execute(self, run: ContinuousRun[Cursor]) -> None:
            self.runs.append(run)
            run.state.page = 99
            try:
                await asyncio.Event().wait()
            finally:
                cut.set()

    job = Endless()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(Endless, new_key())
        await poll.start(Cursor(page=1))
        await eventually(lambda: job.runs)
        await poll.terminate("enough")
        result = await result_of(client, poll.instance_id)
        assert (result["status"], result["reason"]) == ("terminated", "enough")
        assert await poll.state() == Cursor(page=1)
        await eventually(cut.is_set)


async def test_the_status_says_what_the_instance_does(client: Client, queue: str) -> None:
    job = Progressing()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(Progressing, new_key())
        before = datetime.now(UTC)
        await poll.start()
        running = await until_status(poll, "running")
        assert (running.job_type, running.job_name, running.key) == ("continuous", "poll", poll.key)
        assert (running.run_count, running.attempt, running.event_count) == (1, 1, 0)
        assert before - timedelta(seconds=1) < running.started_at < datetime.now(UTC)
        job.go_on.set()
        waiting = await until_status(poll, "scheduled")
        assert waiting.next_run_at == waiting.started_at + NEVER
        assert waiting.will_flush_at is waiting.last_error is None
        await poll.pause()
        assert (await until_status(poll, "paused")).next_run_at is None
        await poll.terminate()


async def _page(poll: ContinuousHandle[Cursor], page: int) -> bool:
    """Whether the run that turned to the page is over."""
    return await poll.state() == Cursor(page=page) and (await status_of(poll)).status != "running"
