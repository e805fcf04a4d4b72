"""What a client refuses before it sends anything, and in which words."""

import math
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest
from temporalio.client import Client

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
    JobClient,
    JobsError,
    TaskJob,
    TaskRun,
)
from durable_jobs.handles import ContinuousHandle, DebounceHandle, TaskHandle


class Words(DebounceJob[str, str]):
    name = "words"
    flush_after = timedelta(hours=1)

    async def execute(self, run: DebounceRun[str]) -> None: ...


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(timedelta(hours=1))

    async def execute(self, run: ContinuousRun[int]) -> None: ...


class Triage(TaskJob[str, int, str]):
    name = "triage"

    async def on_event(self, run: TaskRun[int], event: str) -> str:
        return event

    async def execute(self, run: TaskRun[int]) -> None: ...


@pytest.fixture
async def jobs(monkeypatch: pytest.MonkeyPatch) -> JobClient:
    """A client that finds no server: what it would send raises TemporalUnreachable."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    return await JobClient.connect(lazy=True)


# -- jobs and keys --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "job", "message"),
    [
        ("debounce", Triage, "Triage is none: use jobs.task(Triage, key)"),
        ("debounce", Poll, "Poll is none: use jobs.continuous(Poll, key)"),
        ("continuous", Words, "Words is none: use jobs.debounce(Words, key)"),
        ("task", Words, "jobs.task() takes a TaskJob class, and Words is none: use jobs.debounce("),
        ("task", Triage(), "jobs.task() takes the class Triage, not an instance of it"),
        ("task", Words(), "jobs.task() takes a TaskJob class, not <"),
        ("debounce", "words", "jobs.debounce() takes a DebounceJob class, not 'words'"),
        ("debounce", None, "jobs.debounce() takes a DebounceJob class, not None"),
        ("debounce", int, "and int is none"),
        ("debounce", list[int], "jobs.debounce() takes a DebounceJob class, not list[int]"),
    ],
)
async def test_a_job_of_another_type_is_a_type_error_that_names_the_method(
    jobs: JobClient, method: str, job: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        getattr(jobs, method)(job, "k")


async def test_a_job_without_a_usable_name_is_a_wrong_definition(jobs: JobClient) -> None:
    class Nameless(Words):
        name = "Not A Name"

    for job in (Nameless, DebounceJob):
        with pytest.raises(DefinitionError, match="name must match"):
            jobs.debounce(job, "k")


@pytest.mark.parametrize("key", ["", "k" * 300, 5, None, b"k", uuid.UUID(int=5), "\udc80", ["k"]])
async def test_what_is_no_key_is_refused(jobs: JobClient, key: Any) -> None:
    for make in (jobs.debounce, jobs.continuous, jobs.task):
        job: Any = {jobs.debounce: Words, jobs.continuous: Poll, jobs.task: Triage}[make]
        with pytest.raises(InvalidKey):
            make(job, key)


class Account(str, Enum):  # noqa: UP042 - the kind under test
    """As `StrEnum` was written before Python 3.11; it is formatted by its name."""

    ADA = "ada"


async def test_a_key_that_is_a_kind_of_text_counts_as_that_text(jobs: JobClient) -> None:
    words = jobs.debounce(Words, Account.ADA)
    assert (words.key, type(words.key)) == ("ada", str)
    assert words.instance_id == "debounce:words:ada"


# -- arguments of handles -------------------------------------------------------------------

Call = Callable[["Handles"], Awaitable[Any]]


class Handles:
    """One handle of each type."""

    def __init__(self, jobs: JobClient) -> None:
        self.words: DebounceHandle[Any, Any] = jobs.debounce(Words, "k")
        self.poll: ContinuousHandle[Any] = jobs.continuous(Poll, "k")
        self.triage: TaskHandle[Any, Any, Any] = jobs.task(Triage, "k")


NO_IDS: list[Any] = [5, uuid.UUID(int=5), b"id", "", "x" * 301, "a\udc80", ["id"], 0, False]
WITH_ID: dict[str, Callable[[Handles, Any], Awaitable[Any]]] = {
    "add": lambda handles, given: handles.words.add("e", id=given),
    "add_many": lambda handles, given: handles.words.add_many(["e"], ids=[given]),
    "add_confirmed": lambda handles, given: handles.words.add_confirmed("e", id=given),
    "send": lambda handles, given: handles.triage.send("e", id=given),
    "ask": lambda handles, given: handles.triage.ask("e", id=given),
    "redrive": lambda handles, given: handles.triage.redrive(given),
}


@pytest.mark.parametrize("given", NO_IDS, ids=ascii)
@pytest.mark.parametrize("method", WITH_ID)
async def test_what_is_no_event_id_is_refused(jobs: JobClient, method: str, given: Any) -> None:
    with pytest.raises(InvalidEvent, match="the id") as refused:
        await WITH_ID[method](Handles(jobs), given)
    assert ":k: the id" in str(refused.value)
    str(refused.value).encode()


NO_NOTES: list[Any] = [5, b"ada", ["ada"], uuid.UUID(int=5), "x" * 1_001, "\udc80", {}, False]
WITH_NOTE: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "pause": lambda handle, note: handle.pause(note),
    "resume": lambda handle, note: handle.resume(note),
    "terminate": lambda handle, reason: handle.terminate(reason=reason),
}


@pytest.mark.parametrize("note", NO_NOTES, ids=ascii)
@pytest.mark.parametrize("verb", WITH_NOTE)
async def test_what_is_no_note_or_reason_is_refused(jobs: JobClient, verb: str, note: Any) -> None:
    handles = Handles(jobs)
    for handle in (handles.words, handles.poll, handles.triage):
        with pytest.raises(InvalidArgument, match=f"{handle.instance_id}: the (note|reason) "):
            await WITH_NOTE[verb](handle, note)


NO_TIMES: list[Any] = [5, 0.5, "5s", None, timedelta(), timedelta(seconds=-1), timedelta.max, True]
WITH_TIME: dict[str, Callable[[Handles, Any], Awaitable[Any]]] = {
    "ask": lambda handles, time: handles.triage.ask("e", timeout=time),
    "redrive": lambda handles, time: handles.triage.redrive(timeout=time),
    "add_confirmed": lambda handles, time: handles.words.add_confirmed("e", timeout=time),
    "status": lambda handles, time: handles.poll.status(timeout=time),
    "state": lambda handles, time: handles.poll.state(timeout=time),
}


@pytest.mark.parametrize("time", NO_TIMES, ids=repr)
@pytest.mark.parametrize("method", WITH_TIME)
async def test_what_is_no_time_limit_is_refused(jobs: JobClient, method: str, time: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"timeout (is a timedelta|lies between)"):
        await WITH_TIME[method](Handles(jobs), time)


@pytest.mark.parametrize("time", NO_TIMES, ids=repr)
async def test_connect_refuses_what_is_no_time_limit(time: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"JobClient\.connect: timeout"):
        await JobClient.connect(timeout=time)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: h.words.add_many("abc"), "the events are a list or another iterable, not 'abc'"),
        (lambda h: h.words.add_many(5), "the events are a list or another iterable, not 5"),
        (lambda h: h.words.add_many(["a"], ids="b"), "the ids are a list or another iterable"),
        (lambda h: h.words.add_many(["a"], ids=["b", "c"]), "1 events, but 2 ids"),
        (lambda h: h.poll.reschedule(60), "takes an Every, a Cron or None, not 60"),
        (lambda h: h.poll.reschedule(timedelta(60)), "takes an Every, a Cron or None"),
        (lambda h: h.poll.reschedule("0 9 * * *"), "takes an Every, a Cron or None"),
    ],
)
async def test_other_wrong_arguments_are_refused(jobs: JobClient, call: Call, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        await call(Handles(jobs))


async def test_a_wrong_event_is_refused_by_every_call_that_takes_one(jobs: JobClient) -> None:
    handles = Handles(jobs)
    for call in (
        handles.words.add(5),
        handles.words.add_many(["a", math.nan]),
        handles.words.add_confirmed(None),
        handles.triage.send(b"\xff"),
        handles.triage.ask(object()),
    ):
        with pytest.raises(InvalidEvent):
            await call


# -- the client itself ----------------------------------------------------------------------


@pytest.mark.parametrize("client", [None, "127.0.0.1:7233", Words, object()])
def test_what_is_no_temporal_client_is_refused(client: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"client is a temporalio\.client\.Client, not"):
        JobClient(client)


@pytest.mark.parametrize("queue", [None, 5, "", b"queue", "\udc80"])
async def test_what_names_no_task_queue_is_refused(client: Client, queue: Any) -> None:
    with pytest.raises(InvalidArgument, match="JobClient: task_queue"):
        JobClient(client, task_queue=queue)


async def test_an_argument_that_is_refused_is_an_error_of_each_fitting_kind() -> None:
    assert issubclass(InvalidArgument, JobsError)
    assert issubclass(InvalidArgument, TypeError)
    assert issubclass(InvalidArgument, ValueError)
