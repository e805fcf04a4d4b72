"""What all job classes have in common."""

import hashlib
import re
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from ..checks import check_span, is_whole
from ..errors import DefinitionError
from ..protocol import (
    Detail,
    JobType,
    OnExhausted,
    Options,
    RunRequest,
    RunResult,
    TrackingIdentity,
)
from ..retry import Retry
from ..wire import JSON, dumps
from .codec import codec_of
from .generics import open_parameters, type_arguments
from .methods import PLAIN, check_method
from .run import RunContext
from .warn import warn_once

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


class Job:
    """Base of the three job classes; not for users to derive from directly.

    Class attributes are the job's options. Its instances hold what the handlers need, such as an
    HTTP client, given by the user's own `__init__`.
    """

    job_type: ClassVar[JobType]
    event_type: ClassVar[Any] = type(None)
    state_type: ClassVar[Any] = type(None)
    reply_type: ClassVar[Any] = type(None)
    handlers: ClassVar[tuple[str, ...]] = ("execute",)
    """All methods of the user's that run as activities, optional ones included."""

    name: ClassVar[str]
    retry: ClassVar[Retry] = Retry()
    timeout: ClassVar[timedelta] = timedelta(minutes=5)
    """The time one attempt may take."""

    heartbeat_timeout: ClassVar[timedelta] = timedelta(seconds=15)
    """The time after which a killed worker is noticed."""

    on_exhausted: ClassVar[OnExhausted] = "continue"
    include_state_in_events: ClassVar[bool] = False
    keep_checkpoint_on_exhausted: ClassVar[bool] = False
    """Whether a checkpoint outlives a run that failed for good: the next run begins with it."""

    state_version: ClassVar[int] = 1

    def upgrade_state(self, version: int, data: JSON) -> JSON:
        """Turn the JSON of a state stored under an older `state_version` into today's."""
        return data

    async def perform(self, context: RunContext) -> RunResult:
        """Run one handler for one attempt. The library's own."""
        raise DefinitionError(f"{type(self).__name__} derives from no job type")

    def following(
        self, first: RunRequest, last: RunRequest, result: RunResult, index: int
    ) -> RunRequest | None:
        """What the event at `index` of a burst is called with; None where no other follows.

        The library's own.
        """
        return None

    @classmethod
    def has(cls, handler: str) -> bool:
        """Whether the class, or a base class of the user's, writes the handler itself."""
        return not getattr(getattr(cls, handler, None), "__not_written__", False)

    @classmethod
    def spec(cls) -> Detail:
        """The options of this job type alone, as data."""
        return {}

    @classmethod
    def check_name(cls) -> None:
        """Raise `DefinitionError` where the job has no name, or a wrong one."""
        if not isinstance(name := getattr(cls, "name", None), str) or not NAME.fullmatch(name):
            raise DefinitionError(
                f"{cls.__qualname__}: name must match {NAME.pattern}, it is {name!r}"
            )

    def check(self) -> None:
        """Raise `DefinitionError` where the definition is wrong."""
        cls = type(self)
        label = cls.__qualname__
        cls.check_name()
        self._check_types(label)
        if not cls.has("execute"):
            raise DefinitionError(f"{label}: write execute(self, run)")
        for method in (*cls.handlers, *PLAIN):
            check_method(self, label, method)
        self._check_options(label)
        codec_of(cls)

    def _check_types(self, label: str) -> None:
        for kind in (self.event_type, self.state_type, self.reply_type):
            if isinstance(kind, TypeVar) or open_parameters(kind):
                raise DefinitionError(f"{label}: give the job its types, as in DebounceJob[A, B]")

    def _check_options(self, label: str) -> None:
        cls = type(self)
        if not isinstance(cls.retry, Retry):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{label}: retry is a Retry")
        cls.retry.check(label)
        for option in ("timeout", "heartbeat_timeout"):
            check_span(label, option, getattr(cls, option))
        if cls.on_exhausted not in ("continue", "pause", "terminate"):
            raise DefinitionError(f"{label}: on_exhausted is continue, pause or terminate")
        if not is_whole(cls.state_version) or cls.state_version < 0:
            raise DefinitionError(f"{label}: state_version is a whole number from 0")
        for option in ("include_state_in_events", "keep_checkpoint_on_exhausted"):
            if not isinstance(getattr(cls, option), bool):
                raise DefinitionError(f"{label}: {option} is True or False")

    @classmethod
    def options(cls, tracking: TrackingIdentity | None = None) -> Options:
        """The definition as data, as it is recorded in history."""
        plain = Options(
            retry=cls.retry.rule(),
            timeout=cls.timeout.total_seconds(),
            heartbeat_timeout=cls.heartbeat_timeout.total_seconds(),
            on_exhausted=cls.on_exhausted,
            include_state=cls.include_state_in_events,
            keep_checkpoint=cls.keep_checkpoint_on_exhausted,
            handlers=[name for name in cls.handlers if cls.has(name)],
            tracking=tracking,
            spec=cls.spec(),
        )
        digest = hashlib.sha256(dumps(plain)).hexdigest()[:16]
        return plain.model_copy(update={"digest": digest})


def bind_types(cls: type[Job], base: type[Any], names: tuple[str, ...]) -> None:
    """Set `event_type` and so on from the arguments that `cls` gave to `base`."""
    for attribute, kind in zip(names, type_arguments(cls, base) or (), strict=False):
        setattr(cls, attribute, kind)


def expect_nothing(returned: object, job: Job, handler: str) -> None:
    """Warn, once a job and handler, of what a handler returned though nobody gets it."""
    if returned is None:
        return
    hint = (
        "a reply needs a type, as in TaskJob[Event, State, Reply]"
        if handler == "on_event"
        else "assign run.state to keep a state"
    )
    warn_once(f"{job.name}: {handler} returned {type(returned).__name__}, nobody gets it: {hint}")
