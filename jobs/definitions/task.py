"""The task job: an entity driven by events that schedules itself."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic

from typing_extensions import TypeVar

from ..arguments import moment_of
from ..burst import following
from ..checks import check_span
from ..errors import DefinitionError, InvalidEvent
from ..protocol import Detail, JobType, RunRequest, RunResult
from ..retry import Retry
from .base import Job, bind_types, expect_nothing
from .codec import codec_of
from .methods import call, not_written
from .run import Run, RunContext, State
from .state import check_initial_state, initial_state, load_or_create, result_of

Event = TypeVar("Event")
Reply = TypeVar("Reply", default=None)


@dataclass(frozen=True, slots=True)
class RunFailure:
    """A run that failed for good, as `on_error` sees it."""

    handler: str
    """The handler that failed: `on_event`, `execute` or `on_idle`."""

    message: str
    type: str
    """The error's class name."""

    attempts: int
    event: Any = None
    """The JSON of the event the run was for, where it was for one."""


@dataclass(slots=True)
class TaskRun(Run[State]):
    """One call of a handler of a task."""

    event_count: int
    """Events handled so far, this one included."""

    execute_count: int
    """Alarms run so far, this one included."""

    created_at: datetime
    scheduled_at: datetime | None
    """When the alarm is due, None where none is set."""

    is_first_event: bool = False
    changed: bool = field(default=False, init=False)
    """Whether this attempt set or cancelled the alarm."""

    def schedule(self, when: datetime | timedelta) -> None:
        """Set the alarm that runs `execute`; a second call replaces the first.

        A datetime that has passed is at once.

        Raises:
            ValueError: `when` is a datetime without a time zone, a negative timedelta, or more
                than ten years ahead. TypeError: it is neither.
        """
        self.scheduled_at = moment_of(when, self._now, "run.schedule")
        self.changed = True

    def cancel_schedule(self) -> None:
        """Cancel the alarm, if one is set."""
        self.scheduled_at = None
        self.changed = True


class TaskJob(Job, Generic[Event, State, Reply]):
    """An entity that handles events one at a time. Types: `[Event, State, Reply]`."""

    job_type: ClassVar[JobType] = "task"
    event_type: ClassVar[Any] = Event
    state_type: ClassVar[Any] = State
    handlers: ClassVar[tuple[str, ...]] = ("on_event", "execute", "on_idle", "on_error")
    retry: ClassVar[Retry] = Retry(max_attempts=10)
    idle_timeout: ClassVar[timedelta | None] = None
    """An instance with nothing to do for so long ends; the next event opens a fresh one."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bind_types(cls, TaskJob, ("event_type", "state_type", "reply_type"))

    @not_written
    def initial_state(self, key: str) -> State:
        """The state of a new instance. `State()` by default."""
        return initial_state(self)

    @not_written
    def on_event(self, run: TaskRun[State], event: Event) -> Awaitable[Reply] | Reply:
        """Handle one event; what it returns answers an `ask`."""
        raise NotImplementedError

    @not_written
    def execute(self, run: TaskRun[State]) -> Awaitable[None] | None:
        """Handle the alarm that a handler set."""

    @not_written
    def on_idle(self, run: TaskRun[State]) -> Awaitable[None] | None:
        """Optional: nothing is scheduled and nothing queued."""

    @not_written
    def on_error(self, run: TaskRun[State], error: RunFailure) -> Awaitable[None] | None:
        """Optional: a run failed for good; called once, before `on_exhausted` takes effect."""

    def check(self) -> None:
        """Raise `DefinitionError` where the definition is wrong."""
        super().check()
        cls = type(self)
        if not cls.has("on_event"):
            raise DefinitionError(f"{cls.__qualname__}: write on_event(self, run, event)")
        check_span(cls.__qualname__, "idle_timeout", cls.idle_timeout, or_none=True)
        check_initial_state(self)

    @classmethod
    def spec(cls) -> Detail:
        """The options of this job type alone, as data."""
        timeout = cls.idle_timeout
        return {} if timeout is None else {"idle_timeout": timeout.total_seconds()}

    def following(
        self, first: RunRequest, last: RunRequest, result: RunResult, index: int
    ) -> RunRequest | None:
        """See base class."""
        more: list[Any] = first.detail.get("more", [])
        if index > len(more):
            return None
        return following(first, last, result, index, _detail_of(last, result, more[index - 1]))

    async def perform(self, context: RunContext) -> RunResult:
        """Run one handler. The library's own."""
        request = context.request
        codec = codec_of(type(self))
        arguments: list[Any] = []
        if request.handler == "on_event":
            try:
                arguments.append(codec.load_event(request.detail["event"]))
            except InvalidEvent as error:
                return RunResult(ran=False, detail={"rejected": str(error)})
        elif request.handler == "on_error":
            arguments.append(RunFailure(**request.detail["failure"]))
        run = _task_run(context, await load_or_create(self, context))
        reply = await call(getattr(self, request.handler), run, *arguments)
        detail: Detail = {}
        if request.handler == "on_event":
            detail["reply"] = codec.dump_reply(reply, run.key)
        if request.handler != "on_event" or self.reply_type in (None, type(None)):
            expect_nothing(reply, self, request.handler)
        if run.changed:
            at = run.scheduled_at
            detail["scheduled_at"] = at.isoformat() if at else None
        return result_of(self, run, detail)


def _detail_of(last: RunRequest, result: RunResult, event: Any) -> Detail:
    count = last.detail["event_count"] + result.ran
    return {
        **last.detail,
        "event_count": count,
        "first": count == 1,
        "event": event,
        "scheduled_at": result.detail.get("scheduled_at", last.detail["scheduled_at"]),
    }


def _task_run(context: RunContext, state: Any) -> TaskRun[Any]:
    detail = context.request.detail
    at = detail["scheduled_at"]
    return TaskRun[Any](
        context,
        state,
        detail["event_count"],
        detail["execute_count"],
        datetime.fromisoformat(detail["created_at"]),
        datetime.fromisoformat(at) if at else None,
        detail.get("first", False),
    )
