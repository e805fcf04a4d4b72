"""Which instances are meant: by what they are, which their IDs tell, and by what they do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, cast, get_args

from ..arguments import check_text, shown
from ..definitions import Job
from ..definitions.base import NAME
from ..errors import InvalidArgument
from ..kinds import KINDS, JobKind
from ..names import JOB_STATUS, STATUS_FAILING, STATUS_PAUSED
from ..protocol import JobType
from ..status import StatusWord
from ..wire import JSON

Status = Mapping[str, JSON]
"""A status as it goes over the wire."""

Words = tuple[str, ...] | None
"""What an instance's `JobStatus` says; None where it has none."""

_EXECUTIONS: Final[dict[str, tuple[str, ...]]] = {
    "completed": ("Completed",),
    "failed": ("Failed", "TimedOut"),
    "terminated": ("Terminated", "Canceled", "Completed"),
}
"""Under which of Temporal's statuses an ended instance is; `terminate` completes a workflow."""

_GRACE = timedelta(seconds=10)
"""What is due for less is not overdue: workers have much to do at times."""

_BUSY = ("running", "retrying", "paused", "terminating")


class Which(TypedDict, total=False):
    """What instances can be chosen by. All of it must hold."""

    job_type: JobType
    status: StatusWord
    """Those alive, unless it is `completed`, `terminated` or `failed`."""

    key_prefix: str
    failing: bool
    """The last attempt failed, or failed events are set aside for `redrive`."""

    overdue: bool
    """Due for over 10 s, without a run under way."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which instances are meant."""

    types: tuple[str, ...] = tuple(KINDS)
    job: str | None = None
    key_prefix: str = ""
    status: StatusWord | None = None
    failing: bool = False
    overdue: bool = False

    @classmethod
    def of(cls, job: object, which: Which) -> "Selection":
        """What a caller of the client asked for; raises `InvalidArgument`."""
        given: dict[str, Any] = dict(which)
        if unknown := ", ".join(sorted(given.keys() - Which.__annotations__.keys())):
            raise InvalidArgument(f"there is no option {unknown}")
        job_type = given.pop("job_type", None)
        if job is not None:
            if not isinstance(job, type) or Job not in job.__mro__:
                raise InvalidArgument(f"job is a job class or None, not {shown(cast('Any', job))}")
            job = cast("type[Job]", job)
            job.check_name()
            if job_type not in (None, job.job_type):
                raise InvalidArgument(f"{job.name} is a {job.job_type} job, not {shown(job_type)}")
            return cls.checked(job.job_type, job.name, **given)
        return cls.checked(job_type, None, **given)

    @classmethod
    def checked(
        cls,
        job_type: str | None,
        job: str | None,
        *,
        status: Any = None,
        key_prefix: Any = None,
        failing: Any = False,
        overdue: Any = False,
    ) -> "Selection":
        """One whose every word is one; raises `InvalidArgument`, which names what is possible."""
        if job_type is not None:
            _check_word(job_type, tuple(KINDS), "job_type")
        if job is not None and not re.fullmatch(NAME, job):
            raise InvalidArgument(f"{shown(job)} is no job's name, which matches {NAME.pattern}")
        if status is not None:
            _check_word(status, get_args(StatusWord), "status")
        check_text(key_prefix, "key_prefix")
        types = tuple(KINDS) if job_type is None else (job_type,)
        return cls(types, job, key_prefix or "", status, bool(failing), bool(overdue))

    def taking(self, verb: str) -> "Selection":
        """The part of it that takes a verb; raises `InvalidArgument` where that is none."""
        able = tuple(name for name in self.types if verb in KINDS[name].controls)
        if not able:
            takers = [name for name, kind in KINDS.items() if verb in kind.controls]
            raise InvalidArgument(
                f"{self.types[0]} jobs take no {verb}; {' and '.join(takers)} jobs do"
            )
        return replace(self, types=able)

    @property
    def is_all(self) -> bool:
        """Whether it leaves nothing out that is alive."""
        return self == Selection()

    @property
    def is_whole_job(self) -> bool:
        """Whether a job is meant with all its instances."""
        return self.job is not None and replace(self, job=None, types=tuple(KINDS)).is_all

    @property
    def asks(self) -> bool:
        """Whether only the instances themselves know if they are meant."""
        return self.status is not None or self.failing or self.overdue

    def query(self, *, by_status: bool = False) -> str:
        """The part of it that Temporal's visibility can tell, in its language.

        `by_status` where the namespace has the attribute `JobStatus`. Instances that were started
        without it stay in: they must be asked.
        """
        executions = _EXECUTIONS.get(self.status or "", ("Running",))
        parts = [
            f"WorkflowType IN ({_listed(KINDS[name].workflow for name in self.types)})",
            f"ExecutionStatus IN ({_listed(executions)})",
        ]
        if self.job is not None:
            prefixes = (f"{name}:{self.job}:{self.key_prefix}" for name in self.types)
            named = " OR ".join(f"WorkflowId STARTS_WITH {quoted(each)}" for each in prefixes)
            parts.append(f"({named})")
        if by_status and (word := self._trouble) is not None:
            parts.append(f"({JOB_STATUS} = {quoted(word)} OR {JOB_STATUS} IS NULL)")
        return " AND ".join(parts)

    @property
    def _trouble(self) -> str | None:
        """The word of `JobStatus` that all those alive that are meant have."""
        if self.failing:
            return STATUS_FAILING
        return STATUS_PAUSED if self.status == "paused" else None

    def has(self, instance_id: str, workflow: str) -> bool:
        """Whether a workflow is an instance that is meant, as far as its name tells."""
        kind, job, key = parts_of(instance_id)
        if kind is None or kind.workflow != workflow or kind.name not in self.types:
            return False
        return bool(key) and self.job in (None, job) and key.startswith(self.key_prefix)

    def fits(self, words: Words) -> bool | None:
        """Whether an instance is meant, by the words of its `JobStatus`; None: it must be asked."""
        if not self.asks:
            return True
        if words is None or self.status is not None or self.overdue:
            return None
        return STATUS_FAILING in words

    def takes(self, status: Status, now: datetime) -> bool:
        """Whether an instance is meant, by what it does."""
        return (
            self.status in (None, status["status"])
            and (not self.failing or is_failing(status))
            and (not self.overdue or is_overdue(status, now))
        )


def parts_of(instance_id: str) -> tuple[JobKind | None, str, str]:
    """The job type, the job's name and the key in an ID; no type where it is none of ours."""
    job_type, _, rest = instance_id.partition(":")
    job, _, key = rest.partition(":")
    return KINDS.get(job_type), job, key


def is_failing(status: Status) -> bool:
    """Whether the last attempt failed, or failed events are set aside."""
    if status["status"] in ("completed", "terminated"):
        return False
    stopped = status.get("pausedBy") == "exhausted" or bool(status.get("failedEvents"))
    return stopped or status.get("lastError") is not None


def due_of(status: Status) -> datetime | None:
    """When the instance does something next by itself."""
    due = status.get("willFlushAt") or status.get("nextRunAt")
    return datetime.fromisoformat(due) if due else None


def is_overdue(status: Status, now: datetime) -> bool:
    """Whether something was due for longer than a busy worker takes, and is not under way."""
    due = due_of(status)
    return due is not None and status["status"] not in _BUSY and due + _GRACE < now


def _check_word(value: object, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise InvalidArgument(f"{what} is one of {', '.join(known)}; it is {shown(value)}")


def _listed(words: Any) -> str:
    return ", ".join(quoted(word) for word in words)


def quoted(text: str) -> str:
    """A text as visibility's language writes it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
