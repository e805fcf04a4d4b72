"""What handlers and workers are refused, and in which words."""

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from temporalio.client import Client

from durable_jobs import (
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    DefinitionError,
    InvalidArgument,
    JobsPlugin,
    TaskRun,
    run_worker,
)
from durable_jobs.arguments import moment_of
from durable_jobs.definitions.run import RunContext
from durable_jobs.tracking import MemorySink, NoopSink, Tracking
from tests.support.jobs import new_key, result_of, running_worker

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Context:
    """As much of an attempt as runs need to be told things."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []

    def now(self) -> datetime:
        return NOW

    def progress(self, shown: dict[str, Any]) -> None:
        self.shown.append(shown)


def task_run() -> TaskRun[int]:
    return TaskRun[int](cast("RunContext", Context()), 0, 1, 0, NOW, None)


def continuous_run() -> ContinuousRun[int]:
    return ContinuousRun[int](cast("RunContext", Context()), 0, NOW)


# -- times ----------------------------------------------------------------------------------

FAR = timedelta(days=4_000)
NO_TIMES: list[Any] = [
    60,
    1.5,
    "5m",
    None,
    True,
    NOW.date(),
    NOW.replace(tzinfo=None),
    timedelta(seconds=-1),
    FAR,
    timedelta.max,
    timedelta.min,
    datetime(9000, 1, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
]


@pytest.mark.parametrize("when", NO_TIMES, ids=repr)
def test_what_is_no_time_for_an_alarm_or_a_tick_is_refused_and_changes_nothing(when: Any) -> None:
    run, tick = task_run(), continuous_run()
    with pytest.raises(InvalidArgument, match=r"run\.schedule "):
        run.schedule(when)
    assert (run.scheduled_at, run.changed) == (None, False)
    with pytest.raises(InvalidArgument, match=r"run\.next_in "):
        tick.next_in(when)
    if not isinstance(when, timedelta):
        with pytest.raises(InvalidArgument, match=r"run\.next_at "):
            tick.next_at(when)
    assert tick.next_run_at is None


@pytest.mark.parametrize(
    ("when", "at"),
    [
        (timedelta(), NOW),
        (timedelta(hours=1), NOW + timedelta(hours=1)),
        (NOW - timedelta(days=1), NOW - timedelta(days=1)),
        (NOW.astimezone(timezone(timedelta(hours=5))), NOW),
    ],
)
def test_a_time_is_taken_in_utc(when: Any, at: datetime) -> None:
    found = moment_of(when, lambda: NOW, "run.schedule")
    assert (found, found.tzinfo) == (at, UTC)


def test_a_time_that_has_long_passed_is_at_once() -> None:
    east = datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))
    assert moment_of(east, lambda: NOW, "run.schedule") < NOW


# -- progress and reasons -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.progress("half"), "run.progress: done is a finite number, not 'half'"),
        (lambda run: run.progress(None), "done is a finite number, not None"),
        (lambda run: run.progress(True), "done is a finite number, not True"),
        (lambda run: run.progress(math.nan), "done is a finite number, not nan"),
        (lambda run: run.progress(1, math.inf), "total is a finite number, not inf"),
        (lambda run: run.progress(1, "12"), "total is a finite number, not '12'"),
        (lambda run: run.progress(1, 2, b"pages"), "the message is a text, not b'pages'"),
        (lambda run: run.terminate(5), "run.terminate: the reason is a text, not 5"),
        (lambda run: run.terminate(ValueError("x")), "the reason is a text, not ValueError"),
    ],
)
def test_what_a_run_cannot_say_is_refused(call: Callable[[Any], Any], message: str) -> None:
    run = task_run()
    with pytest.raises(InvalidArgument) as refused:
        call(run)
    assert message in str(refused.value)
    assert not run.terminated
    assert cast("Any", run)._context.shown == []


# -- what workers are given -----------------------------------------------------------------


class Words(DebounceJob[str, str]):
    name = "words"
    flush_after = timedelta(seconds=0.2)

    async def execute(self, run: DebounceRun[str]) -> None: ...


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([], "no jobs are given: a worker needs at least one job instance"),
        (iter([]), "no jobs are given"),
        (None, "jobs are a list of job instances, not None"),
        (Words(), "jobs are a list of job instances, not <"),
        ("words", "jobs are a list of job instances, not 'words'"),
        ([Words], "is no instance of a job class: give Words()"),
        ([None], "None is no instance of a job class"),
    ],
)
def test_what_are_no_jobs_is_refused(jobs: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        JobsPlugin(jobs)
    assert message in str(refused.value)


async def test_a_worker_without_jobs_is_refused_before_any_connection() -> None:
    with pytest.raises(DefinitionError, match="no jobs are given"):
        await run_worker([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client": "127.0.0.1:7233"}, "run_worker: client is a Client"),
        ({"task_queue": 5}, "run_worker: task_queue is a text"),
        ({"task_queue": ""}, "run_worker: task_queue is empty"),
        ({"tracking": NoopSink()}, "run_worker: tracking is a Tracking"),
        ({"metrics": 9464}, "run_worker: metrics is a text"),
        ({"grace": 5}, "run_worker: grace is a timedelta"),
        ({"grace": timedelta(-1)}, "run_worker: grace lies between"),
        ({"stop": asyncio.sleep}, "run_worker: stop is a Event"),
    ],
)
async def test_what_a_worker_cannot_use_is_refused_before_any_connection(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        await run_worker([Words()], **options)


SECRET = "http://ada:secret@collector"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JobsPlugin([Words()], cast("Any", SECRET)), "JobsPlugin: tracking is a Tracking"),
        (lambda: Tracking(cast("Any", SECRET)), "Tracking: sink is a sink, as in"),
        (lambda: Tracking(cast("Any", None)), "Tracking: sink is a sink"),
        (lambda: Tracking(cast("Any", MemorySink)), "Tracking: sink is a sink"),
        (lambda: Tracking(MemorySink(), env=cast("Any", 5)), "Tracking: env is a text, not 5"),
        (lambda: Tracking(MemorySink(), env=cast("Any", None)), "Tracking: env is a text"),
        (lambda: Tracking(MemorySink(), service_key="\udc80"), "Tracking: service_key is no"),
        (lambda: Tracking(MemorySink(), before_send=cast("Any", 5)), "before_send is a function"),
        (lambda: Tracking(MemorySink(), give_up_after=cast("Any", 5)), "give_up_after is a time"),
        (lambda: Tracking(MemorySink(), give_up_after=timedelta()), "give_up_after lies between"),
    ],
)
def test_what_tracking_cannot_use_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as refused:
        make()
    assert "secret" not in str(refused.value)


async def test_what_a_handler_returns_for_nobody_is_said_once(
    client: Client, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Giving(DebounceJob[str, str]):
        name = f"giving-{queue}"
        flush_after = timedelta(seconds=0.1)

        async def execute(self, run: DebounceRun[str]) -> None:
            return cast("None", run.state + "!")

    with caplog.at_level(logging.WARNING):
        async with running_worker(client, queue, Giving()) as jobs:
            for _ in range(2):
                giving = jobs.debounce(Giving, new_key())
                await giving.add("a")
                await result_of(client, giving.instance_id)
    warnings = [text for text in caplog.messages if Giving.name in text]
    assert warnings == [
        f"{Giving.name}: execute returned str, nobody gets it: assign run.state to keep a state"
    ]
