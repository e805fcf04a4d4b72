"""`run_job` calls a handler as a worker would, and shows what it left."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    DefinitionError,
    Every,
    InvalidArgument,
    InvalidEvent,
    InvalidKey,
    InvalidState,
    JobsError,
    RunFailure,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.testing import Call, run_job
from durable_jobs.testing.moments import MONDAY

HOUR = timedelta(hours=1)


class Push(BaseModel):
    commits: int


class Digest(DebounceJob[Push, int]):
    name = "digest"
    flush_after = timedelta(minutes=10)

    def reduce(self, state: int | None, event: Push) -> int:
        if event.commits == 13:
            raise ValueError("an unlucky number")
        return (state or 0) + event.commits

    async def execute(self, run: DebounceRun[int]) -> None:
        run.progress(1, 2, "half way")
        if run.attempt == 2:
            raise RuntimeError(f"{run.key}: the second attempt fails")
        if run.attempt == 3:
            await asyncio.sleep(3600)
        if run.event_count == 0:
            run.terminate("nothing to do")


class Poll(ContinuousJob[list[str]]):
    name = "poll"
    schedule = Every(HOUR)

    def execute(self, run: ContinuousRun[list[str]]) -> None:
        run.state.append(run.due_at.isoformat())
        run.next_in(2 * HOUR)


class Triage(TaskJob[str, list[str], str]):
    name = "triage"

    async def on_event(self, run: TaskRun[list[str]], event: str) -> str:
        run.state.append(event)
        if event == "remind":
            run.schedule(HOUR)
        if event == "tell":
            await run.jobs.debounce(Digest, "a").add(Push(commits=3), id="1")
            await run.jobs.continuous(Poll, "b").start(["from"])
            await run.jobs.task(Triage, "c").pause("too loud")
            assert await run.jobs.task(Triage, "c").status() is None
        if event == "ask":
            await run.jobs.task(Triage, "c").ask("how are you")
        await run.checkpoint()
        return f"{event}, {run.event_count}, {run.scheduled_at}"

    async def execute(self, run: TaskRun[list[str]]) -> None:
        run.state.append("alarm")

    async def on_idle(self, run: TaskRun[list[str]]) -> None:
        run.terminate()

    async def on_error(self, run: TaskRun[list[str]], error: RunFailure) -> None:
        run.state.append(error.message)


class Deliver(WorkerPoolJob[int]):
    name = "deliver"
    concurrency = 3

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def execute(self, run: WorkerPoolRun[int]) -> None:
        self.seen.append((run.event, run.sequence, run.run_count, run.index))

    def on_dead_letter(self, run: WorkerPoolRun[int], error: RunFailure) -> None:
        self.seen.append((run.event, error.type))


def test_a_debounce_folds_the_events_and_executes() -> None:
    outcome = run_job(Digest(), events=[Push(commits=2), Push(commits=3)])
    assert outcome.state == 5
    assert outcome.progress is not None
    assert outcome.progress.message == "half way"
    assert not outcome.terminated


def test_it_begins_with_the_state_given_and_tells_of_what_was_rejected() -> None:
    outcome = run_job(Digest(), state=10, events=[Push(commits=13), Push(commits=1)])
    assert outcome.state == 11
    assert outcome.rejected == ["reduce raised ValueError"]


def test_a_handler_with_nothing_to_do_may_end_its_instance() -> None:
    outcome = run_job(Digest(), state=10)
    assert (outcome.terminated, outcome.terminate_reason) == (True, "nothing to do")


def test_what_the_handler_raises_is_raised() -> None:
    with pytest.raises(RuntimeError, match="octocat: the second attempt fails"):
        run_job(Digest(), key="octocat", events=[Push(commits=1)], attempt=2)


def test_a_handler_that_takes_too_long_fails_in_no_time() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="longer than its timeout of 0:05:00"):
        run_job(Digest(), events=[Push(commits=1)], attempt=3)
    assert time.monotonic() - began < 5


def test_a_tick_is_due_now_and_may_choose_the_next() -> None:
    outcome = run_job(Poll(), now=MONDAY + HOUR)
    assert outcome.state == ["2026-01-05T10:00:00+00:00"]
    assert outcome.scheduled_at == MONDAY + 3 * HOUR


def test_a_task_handles_each_event_in_turn() -> None:
    outcome = run_job(Triage(), events=["remind", "then"])
    assert outcome.state == ["remind", "then"]
    assert outcome.checkpoint == ["remind", "then"]
    assert outcome.scheduled_at == MONDAY + HOUR
    assert outcome.reply == f"then, 2, {MONDAY + HOUR}"


def test_a_task_without_events_runs_its_alarm_or_the_handler_named() -> None:
    assert run_job(Triage()).state == ["alarm"]
    assert run_job(Triage(), handler="on_idle").terminated
    failure = RunFailure(handler="on_event", message="no", type="ValueError", attempts=10)
    assert run_job(Triage(), error=failure).state == ["no"]


def test_a_worker_pool_handles_each_event_in_turn() -> None:
    deliver = Deliver()
    run_job(deliver, events=[7, 8], key="2")
    failure = RunFailure(handler="execute", message="no", type="ValueError", attempts=3)
    run_job(deliver, events=[9], error=failure)
    assert deliver.seen == [(7, 1, 1, 2), (8, 2, 2, 2), (9, "ValueError")]


def test_calls_of_other_instances_are_kept_and_go_nowhere() -> None:
    outcome = run_job(Triage(), events=["tell"])
    assert outcome.calls == [
        Call("debounce:digest:a", "add", events=[{"commits": 3}]),
        Call("continuous:poll:b", "start", argument=["from"]),
        Call("task:triage:c", "pause", argument="too loud"),
    ]


def test_a_handler_that_waits_for_another_instance_is_for_a_simulation() -> None:
    with pytest.raises(JobsError, match="Test it with a Simulation that has both jobs"):
        run_job(Triage(), events=["ask"])


async def test_it_runs_in_a_test_that_is_async_too() -> None:
    assert run_job(Triage(), events=["hello"]).state == ["hello"]


def test_a_handler_that_is_none_or_takes_no_events_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="Digest has no handler 'on_idle'; it has: execute"):
        run_job(Digest(), handler="on_idle")  # type: ignore[call-overload]
    with pytest.raises(InvalidArgument, match=r"Triage\.execute takes no events"):
        run_job(Triage(), handler="execute", events=["hello"])
    with pytest.raises(InvalidArgument, match=r"Deliver\.execute is called with an event"):
        run_job(Deliver())
    with pytest.raises(InvalidArgument, match="attempt is a whole number from 1"):
        run_job(Triage(), attempt=0)


def test_what_does_not_fit_is_said_before_anything_runs() -> None:
    wrong: Any = ["no push"]
    with pytest.raises(InvalidEvent, match="digest, key 'test'"):
        run_job(Digest(), events=wrong)
    state: Any = "no number"
    with pytest.raises(InvalidState, match="digest, key 'test'"):
        run_job(Digest(), state=state)
    with pytest.raises(InvalidKey):
        run_job(Digest(), key="")
    with pytest.raises(DefinitionError, match="give Digest"):
        run_job(Digest, events=[])  # type: ignore[call-overload]
