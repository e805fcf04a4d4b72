"""The debounce job: gathers events per key and runs once for many."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, cast

from typing_extensions import TypeVar

from ..errors import DefinitionError, InvalidEvent
from ..protocol import Detail, FlushReason, JobType, OnExhausted, RunResult
from ..questions import Folded, Rejected
from ..wire import JSON
from .base import Job, bind_types, expect_nothing
from .codec import codec_of
from .methods import call, call_plain, not_written
from .run import Run, RunContext, State
from .state import note_state, result_of, state_reached
from .windows import check_rules, rules_of

Event = TypeVar("Event")
DebounceState = TypeVar("DebounceState", default=Event)


@dataclass(slots=True)
class DebounceRun(Run[State]):
    """One flush of a window."""

    event_count: int
    """Events folded into `state`: those accepted."""

    flush_reason: FlushReason
    window_opened_at: datetime


class DebounceJob(Job, Generic[Event, DebounceState]):
    """Gathers events and runs `execute` once per window. Types: `[Event, State]`.

    A window flushes by the first rule to hold: `flush_after` its first event, `quiet_for` after
    its last, at `max_events` events or `max_bytes` bytes of them. Counts are triggers, not caps:
    what came while a run was under way flushes together.
    """

    job_type: ClassVar[JobType] = "debounce"
    event_type: ClassVar[Any] = Event
    state_type: ClassVar[Any] = DebounceState

    flush_after: ClassVar[timedelta | None] = None
    quiet_for: ClassVar[timedelta | None] = None
    max_events: ClassVar[int | None] = None
    max_bytes: ClassVar[int | None] = None
    dedupe_for: ClassVar[timedelta | None] = None
    """How long the ids of events are remembered over windows."""

    leading: ClassVar[bool] = False
    """Whether the first event of a quiet instance runs at once, alone.

    Those after it gather. The instance is quiet again once the leading event's own `flush_after` or
    `quiet_for` passed and nothing waits.
    """

    on_exhausted: ClassVar[OnExhausted] = "pause"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bind_types(cls, DebounceJob, ("event_type", "state_type"))

    @not_written
    def reduce(self, state: DebounceState | None, event: Event) -> DebounceState:
        """Fold an event into the window's state. Keeps the latest where Event is State.

        An event for which this raises is rejected; the state before it is kept.
        """
        return event  # type: ignore[return-value]

    @not_written
    def execute(self, run: DebounceRun[DebounceState]) -> Awaitable[None] | None:
        """Do the window's work. A plain `def` runs in a thread."""

    @classmethod
    def spec(cls) -> Detail:
        """The window's rules as data, in seconds and bytes."""
        return rules_of(cls)

    def check(self) -> None:
        """Raise `DefinitionError` where the definition is wrong."""
        super().check()
        cls = type(self)
        check_rules(cls)
        if cls.keep_checkpoint_on_exhausted:
            raise DefinitionError(
                f"{cls.__qualname__}: keep_checkpoint_on_exhausted is for continuous and task "
                "jobs; a window's state is folded from its events, which are kept"
            )
        if not cls.has("reduce") and cls.event_type != cls.state_type:
            raise DefinitionError(
                f"{cls.__qualname__}: write reduce(self, state, event), set reduce = collect for a "
                "list, or make Event and State one type"
            )

    def fold(self, events: Sequence[JSON], base: JSON, has_base: bool, version: int) -> Folded:
        """Judge events and reduce those that fit into a state, as JSON of any size."""
        folder = _Folder(self, base, has_base, version)
        folder.add_all(events)
        state = codec_of(type(self)).show_state(folder.state, "") if folder.has_state else None
        return Folded(
            state=state,
            has_state=folder.has_state,
            state_version=self.state_version,
            rejected=folder.rejected,
        )

    async def perform(self, context: RunContext) -> RunResult:
        """Fold what waits and execute. The library's own."""
        request = context.request
        detail = request.detail
        events: list[JSON] = detail["events"]
        folder = _Folder(self, request.state, request.has_state, request.state_version)
        folder.add_all(events)
        # Events folded ahead count too, though they are not among `events`.
        count = detail["folded"] + len(events) - len(folder.rejected)
        judged: Detail = {
            "rejected": [item.model_dump() for item in folder.rejected],
            "count": count,
        }
        if not folder.has_state:
            return RunResult(ran=False, detail=judged, state_version=self.state_version)
        # Before the handler runs: what cannot be kept fails the run before it does anything.
        codec_of(type(self)).show_state(folder.state, request.key)
        state = state_reached(self, context, folder.state)
        note_state(self, context, state)
        run = DebounceRun[Any](
            context,
            state,
            count,
            detail["flush_reason"],
            datetime.fromisoformat(detail["opened_at"]),
        )
        expect_nothing(await call(self.execute, run), self, "execute")
        return result_of(self, run, judged)


def as_debounce(job: Job) -> DebounceJob[Any, Any] | None:
    """The job itself where it is a debounce job, for checkers too."""
    return cast("DebounceJob[Any, Any]", job) if isinstance(job, DebounceJob) else None


class _Folder:
    """Folds events one by one; survives a `reduce` that raises after changing the state."""

    def __init__(
        self, job: DebounceJob[Any, Any], base: JSON, has_base: bool, version: int
    ) -> None:
        self._job = job
        self._codec = codec_of(type(job))
        self._base = (base, version) if has_base else None
        self._taken: list[JSON] = []
        self.rejected: list[Rejected] = []
        self._reset()

    def _reset(self) -> None:
        self.has_state = self._base is not None
        self.state = self._codec.load_state(self._job, *self._base) if self._base else None

    def add_all(self, events: Sequence[JSON]) -> None:
        data = [event["data"] for event in events]
        for index, event in enumerate(self._codec.load_events(data)):
            reason = self._add(event, data[index])
            if reason is not None:
                self.rejected.append(Rejected(index=index, reason=reason))

    def _add(self, event: Any, data: JSON) -> str | None:
        if isinstance(event, InvalidEvent):
            return str(event)
        try:
            self._reduce(event)
        except DefinitionError:
            # Not for the event's sake: with the method mended it is taken.
            raise
        except BaseException as error:  # code of the user's, which awaits nothing
            self._replay()
            own = isinstance(error, InvalidEvent)
            return str(error) if own else f"reduce raised {type(error).__name__}"
        self._taken.append(data)
        return None

    def _reduce(self, event: Any) -> None:
        self.state = call_plain(self._job.reduce, self.state, event)
        self.has_state = True

    def _replay(self) -> None:
        # The failed call may have changed the state in place: build it again without that event.
        self._reset()
        for data in self._taken:
            self._reduce(self._codec.load_event(data))
