"""A `Simulation`: what takes days on a server takes milliseconds in memory."""

import asyncio
import gc
import time
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.service import RPCError

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Cron,
    DebounceJob,
    DebounceRun,
    InvalidArgument,
    InvalidEvent,
    JobFailed,
    JobsError,
    NoReply,
    Retry,
    SyncJobClient,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
    collect,
)
from durable_jobs.handles import TaskHandle
from durable_jobs.testing import Simulation

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class Digest(DebounceJob[int, list[int]]):
    name = "digest"
    flush_after = 10 * MINUTE
    retry = Retry(initial=30 * SECOND, backoff="fixed", jitter=False)
    reduce = collect

    def __init__(self) -> None:
        self.sent: list[list[int]] = []

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        if 13 in run.state and not run.is_retry:
            raise ValueError("unlucky at first")
        self.sent.append(run.state)
        if 99 in run.state:
            await run.jobs.task(Thread, run.key).send("from a digest")


class Thread(TaskJob[str, list[str], str]):
    name = "thread"
    retry = Retry(2, initial=SECOND, backoff="fixed", jitter=False)

    async def on_event(self, run: TaskRun[list[str]], event: str) -> str:
        if event == "fail":
            raise ValueError("as asked")
        if event == "sleep":
            await asyncio.sleep(20)
        run.state.append(event)
        run.schedule(timedelta(days=3))
        return event.upper()

    def execute(self, run: TaskRun[list[str]]) -> None:
        time.sleep(0.02)
        run.state.append("alarm")


class Report(ContinuousJob[int]):
    name = "report"
    schedule = Cron("0 9 * * mon-fri", timezone="Europe/Berlin")
    keys = ("all",)

    def __init__(self) -> None:
        self.days: list[str] = []

    async def execute(self, run: ContinuousRun[int]) -> None:
        self.days.append(f"{run.due_at:%a %H:%M}")


class Deliver(WorkerPoolJob[int]):
    name = "deliver"
    concurrency = 3

    def __init__(self) -> None:
        self.done: list[int] = []

    async def execute(self, run: WorkerPoolRun[int]) -> None:
        self.done.append(run.event)


def test_a_window_of_ten_minutes_takes_under_50_ms() -> None:
    digest = Digest()
    with Simulation(digest) as warm:
        warm.debounce(Digest, "warm").add(1)
    # Waiting for a core says nothing about it.
    began = time.thread_time()
    sim = Simulation(digest)
    window = sim.debounce(Digest, "octocat/hello")
    window.add(1)
    window.add(2)
    sim.advance("9m59s")
    assert digest.sent == []
    sim.advance("1s")
    assert digest.sent == [[1, 2]]
    assert time.thread_time() - began < 0.05


def test_a_run_that_fails_is_tried_again_when_it_would_be() -> None:
    digest = Digest()
    sim = Simulation(digest)
    sim.debounce(Digest, "k").add(13)
    sim.advance("10m")
    status = sim.debounce(Digest, "k").status()
    assert status is not None
    assert (status.status, status.last_error) == ("retrying", "ValueError: unlucky at first")
    sim.advance("30s")
    first, second = sim.runs
    assert (repr(first.error), first.attempt, second.attempt) == (
        "ValueError('unlucky at first')",
        1,
        2,
    )
    assert second.at - first.at == 30 * SECOND
    assert first.idempotency_key == second.idempotency_key
    assert second.state == [13]


def test_tracking_events_are_those_of_production() -> None:
    sim = Simulation(Digest())
    sim.debounce(Digest, "k").add(1)
    sim.advance(10 * MINUTE)
    assert [event["type"] for event in sim.events] == [
        "debounce.started",
        "job.executed",
        "debounce.flushed",
    ]
    assert [event["sequence"] for event in sim.events] == [1, 2, 3]
    assert sim.events[-1]["durationMs"] == 600_000


def test_a_week_of_a_cron_job_in_its_time_zone() -> None:
    report = Report()
    # Sunday; on the next one Berlin's clocks go forward.
    sim = Simulation([report], start=datetime(2026, 3, 22, tzinfo=UTC))
    sim.advance("8d")
    assert report.days == [f"{day} 08:00" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")]
    sim.advance("1d")
    assert report.days[5:] == ["Mon 07:00"]


def test_an_answer_takes_as_long_as_its_handler_by_the_clock_of_the_simulation() -> None:
    sim = Simulation(Thread())
    thread = sim.task(Thread, "k")
    before, began = sim.now, time.perf_counter()
    assert thread.ask("sleep") == "SLEEP"
    assert sim.now - before == 20 * SECOND
    with pytest.raises(JobFailed, match="as asked"):
        thread.ask("fail")
    with pytest.raises(NoReply, match="attempt 1 is under way"):
        thread.ask("sleep", timeout=10 * SECOND)
    assert time.perf_counter() - began < 5


def test_a_plain_handler_runs_in_its_thread_while_time_stands_still() -> None:
    sim = Simulation(Thread())
    thread = sim.task(Thread, "k")
    thread.send("hello")
    at = sim.now
    sim.advance("3d")
    assert sim.now - at == timedelta(days=3)
    assert thread.state() == ["hello", "alarm"]


caller: ContextVar[str] = ContextVar("caller", default="nobody")


class Listener(TaskJob[int, list[str]]):
    name = "listener"

    async def on_event(self, run: TaskRun[list[str]], event: int) -> None:
        run.state.append(caller.get())

    async def execute(self, run: TaskRun[list[str]]) -> None:
        """Nothing."""


def test_attempts_know_the_context_variables_of_the_worker_and_none_of_a_caller() -> None:
    caller.set("the worker's")
    sim = Simulation(Listener())
    caller.set("the caller's")
    sim.task(Listener, "k").send(1)
    assert sim.task(Listener, "k").state() == ["the worker's"]


def test_handlers_reach_the_other_jobs_of_the_simulation() -> None:
    sim = Simulation([Digest(), Thread()])
    sim.debounce(Digest, "k").add(99)
    sim.advance("10m")
    assert sim.task(Thread, "k").state() == ["from a digest"]


class Forward(DebounceJob[int]):
    name = "forward"
    flush_after = SECOND

    def execute(self, run: DebounceRun[int]) -> None:
        jobs = SyncJobClient.of(run.jobs)
        assert jobs.task(Thread, run.key).ask("hello") == "HELLO"


def test_a_plain_handler_reaches_them_by_the_blocking_client() -> None:
    sim = Simulation([Forward(), Thread()])
    sim.debounce(Forward, "k").add(1)
    sim.advance("1s")
    assert sim.task(Thread, "k").state() == ["hello"]
    [ran] = [ran for ran in sim.runs if ran.job == "forward"]
    assert ran.error is None


def test_a_pool_works_off_its_queue() -> None:
    deliver = Deliver()
    sim = Simulation(deliver)
    pool = sim.worker_pool(Deliver)
    pool.enqueue_many(range(20), partition_key="one")
    assert deliver.done == [*range(20)]
    status = pool.status()
    assert sum(each.handled_events or 0 for each in status.instances) == 20


def test_a_killed_worker_loses_its_attempt_which_is_made_again() -> None:
    sim = Simulation(Thread())
    thread = sim.task(Thread, "k")
    thread.send("sleep")
    sim.advance("5s")
    sim.kill_worker()
    sim.advance("1m")
    assert thread.state() == ["sleep"]
    [failed] = [event for event in sim.events if event["type"] == "job.failed"]
    assert failed["error"]["message"] == "the attempt was lost with its worker or timed out"
    assert failed["timestamp"] == "2026-01-05T09:00:20.000Z"


async def test_code_in_an_event_loop_of_its_own_may_use_the_client() -> None:
    digest = Digest()
    sim = Simulation(digest)
    await sim.jobs.debounce(Digest, "k").add(5)
    assert await sim.jobs.debounce(Digest, "k").state() == [5]
    sim.advance("10m")
    assert digest.sent == [[5]]


def test_wrong_input_is_refused_as_it_would_be() -> None:
    sim = Simulation(Digest())
    wrong: Any = "no number"
    with pytest.raises(InvalidEvent, match=r"digest, key .k.: event"):
        sim.debounce(Digest, "k").add(wrong)
    with pytest.raises(JobsError, match=r"does not know the task job 'thread'; it knows: digest"):
        sim.task(Thread, "k").send("hello")
    with pytest.raises(InvalidArgument, match="'soon' is no span of time; write it as 5m"):
        sim.advance("soon")
    with pytest.raises(InvalidArgument, match="a datetime with a time zone"):
        Simulation(Digest(), start=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "call",
    [
        lambda sim: sim.jobs.debounce(Digest, "k").erase(),
        lambda sim: sim.jobs.pause_all(Digest),
        lambda sim: sim.jobs.flush_all(Digest, key_prefix="k"),
    ],
)
def test_what_takes_a_server_is_refused_in_words(call: Callable[[Simulation], Any]) -> None:
    sim = Simulation(Digest())
    sim.debounce(Digest, "k").add(1)
    with pytest.raises((JobsError, RPCError), match="in a simulation: it takes a server"):
        sim.run(call(sim))


def test_a_simulation_that_is_closed_says_so() -> None:
    with Simulation(Digest()) as sim:
        window = sim.debounce(Digest, "k")
    with pytest.raises(JobsError, match="This simulation is closed"):
        window.add(1)


def test_what_never_comes_is_said_and_does_not_hang() -> None:
    sim = Simulation(Digest())
    with pytest.raises(JobsError, match="will never happen"):
        sim.run(asyncio.Event().wait())


def test_a_test_need_not_close_it_whatever_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    thread = Simulation(Thread()).jobs.task(Thread, "k")
    # A handle keeps its simulation.
    asyncio.run(_send(thread, "sleep"))
    del thread
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert not caplog.records


async def _send(thread: TaskHandle[str, list[str], str], event: str) -> None:
    await thread.send(event)
