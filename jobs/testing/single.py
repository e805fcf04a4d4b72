"""One handler, called once: `run_job`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Generic, overload
from uuid import uuid4

from pydantic_core import from_json
from typing_extensions import TypeVar

from durable_jobs.arguments import check_kind, check_whole, many
from durable_jobs.definitions import (
    ContinuousJob,
    DebounceJob,
    Job,
    RunFailure,
    TaskJob,
    WorkerPoolJob,
)
from durable_jobs.definitions.codec import codec_of
from durable_jobs.definitions.identity import instance_id_of
from durable_jobs.errors import InvalidArgument, JobsError
from durable_jobs.protocol import Detail, RunRequest, RunResult
from durable_jobs.registry import Registry
from durable_jobs.status import Progress
from durable_jobs.values import JSON
from durable_jobs.workflows.machines.run import Succeeded

from .attempts import Ran, Worker
from .clock import Clock
from .moments import MONDAY, check_moment
from .recorder import Call, Recorder
from .service import client_of

Event = TypeVar("Event")
State = TypeVar("State", default=Any)
Reply = TypeVar("Reply", default=Any)

_MANY = 1_000_000

_UNSET: Any = object()
"""No state was given: the job makes its first one."""


@dataclass(frozen=True)
class Outcome(Generic[State, Reply]):
    """What a handler left. Of several events: what the last one's run left, and all calls."""

    state: State
    reply: Reply
    """What `on_event` returned."""

    scheduled_at: datetime | None = None
    """When a task's alarm is due, or the next tick that `next_in` or `next_at` chose."""

    terminated: bool = False
    terminate_reason: str | None = None
    progress: Progress | None = None
    """What `run.progress` last said."""

    checkpoint: State | None = None
    """The state that `run.checkpoint` last kept."""

    calls: list[Call] = field(default_factory=list[Call])
    """What was done by `run.jobs`, in order. None of it has gone anywhere."""

    rejected: list[str] = field(default_factory=list[str])
    """Why events were rejected: `reduce` raised, for example."""


@overload
def run_job(
    job: DebounceJob[Event, State],
    *,
    key: str = ...,
    state: State = ...,
    events: Sequence[Event] = ...,
    attempt: int = ...,
    now: datetime = ...,
) -> Outcome[State, None]: ...


@overload
def run_job(
    job: ContinuousJob[State],
    *,
    key: str = ...,
    state: State = ...,
    attempt: int = ...,
    now: datetime = ...,
) -> Outcome[State, None]: ...


@overload
def run_job(
    job: TaskJob[Event, State, Reply],
    *,
    key: str = ...,
    state: State = ...,
    events: Sequence[Event] = ...,
    handler: str | None = ...,
    error: RunFailure | None = ...,
    attempt: int = ...,
    now: datetime = ...,
) -> Outcome[State, Reply]: ...


@overload
def run_job(
    job: WorkerPoolJob[Event],
    *,
    key: str = ...,
    events: Sequence[Event] = ...,
    handler: str | None = ...,
    error: RunFailure | None = ...,
    attempt: int = ...,
    now: datetime = ...,
) -> Outcome[None, None]: ...


def run_job(
    job: Job,
    *,
    key: str | None = None,
    state: Any = _UNSET,
    events: Sequence[Any] = (),
    handler: str | None = None,
    error: RunFailure | None = None,
    attempt: int = 1,
    now: datetime = MONDAY,
) -> Outcome[Any, Any]:
    """Call a handler as a worker would, without a server, and look at what it left.

    A debounce folds `events` into its state and executes. A task and a worker pool handle each
    event in turn; without events a task runs its alarm. `handler` names another one, such as
    `on_idle`, and `error` is for `on_error` and `on_dead_letter`. `attempt` is over 1 in a run that
    failed before. `key` is "test", or "0" for a worker pool. What the handler raises, this raises.

    Raises:
        InvalidEvent, InvalidState: an event, or a state, does not fit its type.
        InvalidArgument: the handler is none of the job's, or takes no events.
        DefinitionError: the job's definition is wrong.
        TimeoutError: the handler took longer than its `timeout`; its waits take no real time.
    """
    check_moment(now, "run_job: now")
    check_whole(attempt, "run_job: attempt", 1, _MANY)
    check_kind(error, RunFailure, "run_job: error", "RunFailure(handler=…, message=…, …)")
    registry = Registry([job], None)
    listed = many(events, "run_job: the events")
    called = handler or _handler_of(job, listed, error)
    _check_call(job, called, listed)
    named = _key_of(job, key)
    first = RunRequest(
        job_type=job.job_type,
        job=job.name,
        key=named,
        handler=called,
        run_count=1,
        idempotency_key=str(uuid4()),
        attempt=attempt,
        first_started_at=now if attempt > 1 else None,
        timeout=job.timeout.total_seconds(),
        **_state_of(job, state, named),
    )
    given = [from_json(codec_of(type(job)).event_json(event, named)) for event in listed]
    details = _details_of(job, first, given, error, now)
    single = _Single(registry, job, now)
    try:
        return single.outcome(first, details)
    finally:
        single.close()


def _key_of(job: Job, given: str | None) -> str:
    if given is None:
        return "0" if isinstance(job, WorkerPoolJob) else "test"
    # Raises InvalidKey where it is none.
    instance_id_of(type(job), given)
    return given


def _check_call(job: Job, handler: str, events: Sequence[Any]) -> None:
    """Raise `InvalidArgument` where the handler is none, or its events are."""
    cls = type(job)
    if handler not in job.handlers or not cls.has(handler):
        written = ", ".join(each for each in job.handlers if cls.has(each))
        raise InvalidArgument(
            f"run_job: {cls.__name__} has no handler {handler!r}; it has: {written}"
        )
    needed = {TaskJob: ("on_event",), WorkerPoolJob: ("execute", "on_dead_letter")}
    for kind, with_events in needed.items():
        if isinstance(job, kind) and bool(events) != (handler in with_events):
            how = "is called with an event: give events=[…]" if not events else "takes no events"
            raise InvalidArgument(f"run_job: {cls.__name__}.{handler} {how}")


def _handler_of(job: Job, events: Sequence[Any], error: RunFailure | None) -> str:
    if error is not None:
        return "on_dead_letter" if isinstance(job, WorkerPoolJob) else "on_error"
    return "on_event" if events and isinstance(job, TaskJob) else "execute"


def _state_of(job: Job, state: Any, key: str) -> Detail:
    if state is _UNSET:
        return {}
    data = codec_of(type(job)).check_state(state, key)
    return {"state": data, "has_state": True, "state_version": job.state_version}


def _details_of(
    job: Job, first: RunRequest, events: list[JSON], error: RunFailure | None, now: datetime
) -> list[Detail]:
    """What each run is for, as machines say it."""
    at = now.isoformat()
    if isinstance(job, DebounceJob):
        waiting = [{"data": event, "id": None} for event in events]
        return [{"events": waiting, "folded": 0, "flush_reason": "timeout", "opened_at": at}]
    if isinstance(job, ContinuousJob):
        return [{"due_at": at}]
    failure = {} if error is None else {"failure": asdict(error)}
    each: list[Detail] = [{"event": event} for event in events] or [{}]
    for number, detail in enumerate(each, 1):
        if isinstance(job, WorkerPoolJob):
            detail |= {"index": first.key, "sequence": number, "enqueued_at": at, **failure}
        else:
            alarm = first.handler == "execute"
            counts = {"event_count": number if events else 0, "execute_count": int(alarm)}
            detail |= {**counts, "created_at": at, "scheduled_at": None, **failure}
            detail["first"] = bool(events) and number == 1
    return each


class _Single:
    """Makes runs one after another, each with what the last one left."""

    def __init__(self, registry: Registry, job: Job, now: datetime) -> None:
        self._job = job
        self._now = now
        self._clock = Clock(now)
        self._recorder = Recorder(now)
        self._ran: list[Ran] = []
        self._mark: Detail = {}
        """What the last heartbeat said."""

        client = self._clock.run(client_of(self._recorder))
        self._worker = Worker(registry, None, client, self._ran.append)

    def close(self) -> None:
        self._clock.close()

    def outcome(self, request: RunRequest, details: list[Detail]) -> Outcome[Any, Any]:
        result, rejected = RunResult(ran=False), list[str]()
        alarm: str | None = None
        for number, detail in enumerate(details):
            kept = {} if alarm is None else {"scheduled_at": alarm}
            changed = {"run_count": request.run_count + bool(number), "detail": detail | kept}
            request = request.model_copy(update=changed)
            result = self._clock.run(self._made(request))
            rejected += _rejected(result)
            alarm = result.detail.get("scheduled_at", alarm)
            if result.ran:
                kept = {"state": result.state, "state_version": result.state_version}
                request = request.model_copy(update={**kept, "has_state": True})
            if result.terminate:
                break
        return self._told(request, result, rejected, alarm or result.detail.get("next_at"))

    async def _made(self, request: RunRequest) -> RunResult:
        found = await self._worker.attempt(request, self._now, self._note)
        if isinstance(found, Succeeded):
            return found.result
        error = self._ran[-1].error if self._ran else None
        raise error or JobsError(f"the attempt could not be made: {found}")

    def _note(self, mark: Detail) -> None:
        self._mark = mark

    def _told(
        self, request: RunRequest, result: RunResult, rejected: list[str], at: str | None
    ) -> Outcome[Any, Any]:
        codec, job = codec_of(type(self._job)), self._job
        progress, kept = self._mark.get("progress"), self._mark.get("checkpoint")
        reply = result.detail.get("reply")
        return Outcome(
            state=codec.load_state(job, request.state, request.state_version)
            if request.has_state
            else None,
            reply=None if reply is None else codec.load_reply(reply),
            scheduled_at=None if at is None else datetime.fromisoformat(at),
            terminated=result.terminate,
            terminate_reason=result.terminate_reason,
            progress=Progress(**progress) if progress else None,
            checkpoint=codec.load_state(job, kept["state"], kept["state_version"])
            if kept
            else None,
            calls=self._recorder.calls,
            rejected=rejected,
        )


def _rejected(result: RunResult) -> list[str]:
    found: str | list[Detail] = result.detail.get("rejected", [])
    return [found] if isinstance(found, str) else [item["reason"] for item in found]
