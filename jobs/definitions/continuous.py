"""The continuous job: runs on a schedule, with state, for ever."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic

from ..arguments import moment_of, shown
from ..checks import is_whole
from ..errors import DefinitionError, InvalidArgument, InvalidKey
from ..protocol import Detail, JobType, RunResult
from ..schedule import CatchUp, Cron, Every, Schedule
from .base import Job, bind_types, expect_nothing
from .identity import instance_id_of
from .methods import call, not_written
from .run import Run, RunContext, State
from .state import check_initial_state, initial_state, load_or_create, result_of


@dataclass(slots=True)
class ContinuousRun(Run[State]):
    """One tick."""

    due_at: datetime
    """When the tick was due, whatever the delay; for a trigger, the moment it came."""

    next_run_at: datetime | None = field(default=None, init=False)
    """When the next tick is due, where this attempt chose it."""

    def next_in(self, delay: timedelta) -> None:
        """Choose when the next tick is due: so long from now, in place of the schedule's next.

        After that tick the schedule goes on. A second choice replaces the first.

        Raises:
            ValueError: it is negative, or over ten years. TypeError: it is no timedelta.
        """
        if not isinstance(delay, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgument(
                "run.next_in takes a timedelta, such as timedelta(minutes=5); "
                f"it got {shown(delay)}"
            )
        self.next_run_at = moment_of(delay, self._now, "run.next_in")

    def next_at(self, when: datetime) -> None:
        """Choose when the next tick is due, as `next_in`. A time that has passed is at once.

        Raises:
            ValueError: `when` has no time zone, or is more than ten years ahead. TypeError: it is
                no datetime.
        """
        if not isinstance(when, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgument(f"run.next_at takes an aware datetime; it got {shown(when)}")
        self.next_run_at = moment_of(when, self._now, "run.next_at")


class ContinuousJob(Job, Generic[State]):
    """Runs `execute` on a schedule and carries a state from run to run. Type: `[State]`."""

    job_type: ClassVar[JobType] = "continuous"

    schedule: ClassVar[Schedule]
    keys: ClassVar[tuple[str, ...]] = ()
    """Instances that a worker starts when it boots."""

    catch_up: ClassVar[CatchUp] = "skip"
    """What becomes of ticks that were missed while nothing could run.

    A tick that can run before the one after it is due is late, not missed: it runs. `skip` goes on
    with the next due time, `one` makes one run for all, due at the last of them, `all` makes each,
    in order. Ticks that fall due while the instance is paused are never made up for.
    """

    max_runs: ClassVar[int | None] = None
    """The instance completes after so many runs, failed ones and those of `trigger` included."""

    until: ClassVar[datetime | None] = None
    """An aware datetime: no tick is due after it, and the instance completes then."""

    start_immediately: ClassVar[bool | None] = None
    """Whether the first tick is due at the start. By default for `Every`, not for `Cron`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bind_types(cls, ContinuousJob, ("state_type",))

    @not_written
    def initial_state(self, key: str) -> State:
        """The state of a new instance that was started without one. `State()` by default."""
        return initial_state(self)

    @not_written
    def execute(self, run: ContinuousRun[State]) -> Awaitable[None] | None:
        """Do one tick's work. A plain `def` runs in a thread."""

    @classmethod
    def spec(cls) -> Detail:
        """The schedule as data."""
        schedule = cls.schedule
        immediately = cls.start_immediately
        return {
            "schedule": schedule.rule().model_dump(),
            "start_immediately": schedule.starts_immediately
            if immediately is None
            else immediately,
            "catch_up": cls.catch_up,
            "max_runs": cls.max_runs,
            "until": cls.until.isoformat() if cls.until is not None else None,
        }

    def check(self) -> None:
        """Raise `DefinitionError` where the definition is wrong."""
        super().check()
        cls = type(self)
        label = cls.__qualname__
        schedule = getattr(cls, "schedule", None)
        if not isinstance(schedule, Every | Cron):
            raise DefinitionError(f"{label}: schedule is an Every or a Cron")
        schedule.check(label)
        self._check_end(label)
        self._check_keys(label)
        check_initial_state(self)

    def _check_end(self, label: str) -> None:
        cls = type(self)
        if cls.catch_up not in ("skip", "one", "all"):
            raise DefinitionError(f"{label}: catch_up is skip, one or all, not {cls.catch_up!r}")
        if cls.max_runs is not None and not (is_whole(cls.max_runs) and cls.max_runs > 0):
            raise DefinitionError(f"{label}: max_runs is a whole number from 1, or None")
        if cls.start_immediately not in (None, True, False):
            raise DefinitionError(f"{label}: start_immediately is True, False or None")
        until = cls.until
        if until is None:
            return
        if not isinstance(until, datetime) or until.utcoffset() is None:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"{label}: until is a datetime with a time zone, such as "
                f"datetime(2027, 1, 1, tzinfo=UTC), it is {until!r}"
            )

    def _check_keys(self, label: str) -> None:
        if not isinstance(self.keys, tuple | list):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{label}: keys is a tuple of strings, it is {self.keys!r}")
        for key in self.keys:
            try:
                instance_id_of(type(self), key)
            except InvalidKey as error:
                raise DefinitionError(f"{label}: keys: {error}") from error

    async def perform(self, context: RunContext) -> RunResult:
        """Run one tick. The library's own."""
        request = context.request
        state = await load_or_create(self, context)
        run = ContinuousRun[Any](context, state, datetime.fromisoformat(request.detail["due_at"]))
        expect_nothing(await call(self.execute, run), self, "execute")
        return result_of(
            self, run, {"next_at": run.next_run_at.isoformat()} if run.next_run_at else {}
        )
