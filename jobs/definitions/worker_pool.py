"""The worker pool: works off a queue with bounded concurrency."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, cast

from typing_extensions import TypeVar

from ..burst import following
from ..checks import check_span, is_whole
from ..errors import DefinitionError, InvalidEvent
from ..protocol import Detail, JobType, RunRequest, RunResult
from ..retry import Retry
from .base import Job, bind_types
from .codec import codec_of
from .methods import call, not_written
from .run import Run, RunContext
from .task import RunFailure

Event = TypeVar("Event")

MAX_CONCURRENCY = 1_000


@dataclass(slots=True)
class WorkerPoolRun(Run[None], Generic[Event]):
    """One event of the queue, or none in `on_empty`."""

    event: Event
    sequence: int
    """The event's place among all that its instance ever took, from 1."""

    index: int
    """The instance: 0 to `concurrency` - 1."""

    enqueued_at: datetime | None
    priority: int


class WorkerPoolJob(Job, Generic[Event]):
    """Works off a queue. Type: `[Event]`.

    The pool is `concurrency` instances, each of which handles one event at a time, in order.
    Events of one partition key go to one instance; those without go to each in turn.
    """

    job_type: ClassVar[JobType] = "workerPool"
    event_type: ClassVar[Any] = Event
    handlers: ClassVar[tuple[str, ...]] = ("execute", "on_dead_letter", "on_empty")
    retry: ClassVar[Retry] = Retry(max_attempts=3)
    concurrency: ClassVar[int]
    """How many events are handled at a time."""

    idle_timeout: ClassVar[timedelta | None] = None
    """An instance with an empty queue for so long ends; the next event opens a fresh one."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bind_types(cls, WorkerPoolJob, ("event_type",))

    @not_written
    def execute(self, run: WorkerPoolRun[Event]) -> Awaitable[None] | None:
        """Handle one event. A plain `def` runs in a thread."""

    @not_written
    def on_dead_letter(
        self, run: WorkerPoolRun[Event], error: RunFailure
    ) -> Awaitable[None] | None:
        """Optional: an event failed for good; called once, before `on_exhausted` takes effect."""

    @not_written
    def on_empty(self, run: WorkerPoolRun[None]) -> Awaitable[None] | None:
        """Optional: the instance's queue has run dry."""

    @classmethod
    def spec(cls) -> Detail:
        """The options of this job type alone, as data."""
        timeout = cls.idle_timeout
        return {
            "concurrency": cls.concurrency,
            "idle_timeout": timeout.total_seconds() if timeout else None,
        }

    def check(self) -> None:
        """Raise `DefinitionError` where the definition is wrong."""
        super().check()
        cls = type(self)
        cls.check_concurrency()
        check_span(cls.__qualname__, "idle_timeout", cls.idle_timeout, or_none=True)

    @classmethod
    def check_concurrency(cls) -> None:
        """Raise `DefinitionError` where the number of instances is none. The library's own."""
        given: object = getattr(cls, "concurrency", None)
        if not is_whole(given) or not 1 <= cast("int", given) <= MAX_CONCURRENCY:
            raise DefinitionError(
                f"{cls.__qualname__}: concurrency is a whole number from 1 to "
                f"{MAX_CONCURRENCY:,}, it is {given!r}"
            )

    def following(
        self, first: RunRequest, last: RunRequest, result: RunResult, index: int
    ) -> RunRequest | None:
        """See base class."""
        more: list[Any] = first.detail.get("more", [])
        if index > len(more):
            return None
        detail = {**more[index - 1], "index": first.detail["index"]}
        request = following(first, last, result, index, detail)
        # Pools have no state, so no tracking event shows one.
        return request.model_copy(update={"has_state": False})

    async def perform(self, context: RunContext) -> RunResult:
        """Run one handler. The library's own."""
        request = context.request
        detail = request.detail
        event: Any = None
        if "event" in detail:
            try:
                event = codec_of(type(self)).load_event(detail["event"])
            except InvalidEvent as error:
                return RunResult(ran=False, detail={"rejected": str(error)})
        run = _run_of(context, detail, event)
        failure = [RunFailure(**detail["failure"])] if "failure" in detail else []
        await call(getattr(self, request.handler), run, *failure)
        return RunResult(terminate=run.terminated, terminate_reason=run.terminate_reason)


def _run_of(context: RunContext, detail: Detail, event: Any) -> WorkerPoolRun[Any]:
    at = detail.get("enqueued_at")
    return WorkerPoolRun[Any](
        context,
        None,
        event,
        detail.get("sequence", 0),
        int(detail["index"]),
        datetime.fromisoformat(at) if at else None,
        detail.get("priority", 0),
    )
