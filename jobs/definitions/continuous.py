"""The continuous job: runs on a schedule, with state, for ever."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic

from ..errors import DefinitionError, InvalidKey
from ..protocol import Detail, JobType, RunResult
from ..schedule import Cron, Every, Schedule
from .base import Job, bind_types, call, not_written
from .codec import codec_of
from .identity import instance_id_of
from .run import Run, RunContext, State
from .state import check_initial_state, initial_state, load_or_create


@dataclass(slots=True)
class ContinuousRun(Run[State]):
    """One tick."""

    due_at: datetime
    """When the tick was due, whatever the delay; for a trigger, the moment it came."""


class ContinuousJob(Job, Generic[State]):
    """Runs `execute` on a schedule and carries a state from run to run. Type: `[State]`."""

    job_type: ClassVar[JobType] = "continuous"

    schedule: ClassVar[Schedule]
    keys: ClassVar[tuple[str, ...]] = ()
    """Instances that a worker starts when it boots."""

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
        self._check_keys(label)
        check_initial_state(self)

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
        await call(self.execute, run)
        return RunResult(
            state=codec_of(type(self)).dump_state(run.state, run.key),
            state_version=self.state_version,
            terminate=run.terminated,
            terminate_reason=run.terminate_reason,
        )
