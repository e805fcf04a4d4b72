"""What a handler gets to see of its run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

from ..protocol import Detail, RunRequest
from ..wire import JSON

if TYPE_CHECKING:
    from ..client import JobClient

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the activity knows of the attempt it makes."""

    request: RunRequest
    instance_id: str
    attempt: int
    jobs: "Callable[[], JobClient]"
    now: Callable[[], datetime]
    """By the server's clock, which is the one that alarms go by."""

    progress: Callable[[Detail], None]
    begins_with: Callable[[JSON], None]
    """Notes the state that the handler is about to see."""


@dataclass(slots=True)
class Run(Generic[State]):
    """One attempt of one run, as the handler sees it.

    What a failing attempt did to `state` or by `terminate` is dropped.
    """

    _context: RunContext
    state: State
    """Assignable; kept when the attempt succeeds."""

    terminated: bool = field(default=False, init=False)
    terminate_reason: str | None = field(default=None, init=False)

    @property
    def key(self) -> str:
        """What the instance is about."""
        return self._context.request.key

    @property
    def instance_id(self) -> str:
        """The workflow ID of the instance."""
        return self._context.instance_id

    @property
    def job_name(self) -> str:
        """The job's name."""
        return self._context.request.job

    @property
    def run_count(self) -> int:
        """The number of this run, from 1."""
        return self._context.request.run_count

    @property
    def attempt(self) -> int:
        """The number of this attempt of the run, from 1."""
        return self._context.attempt

    @property
    def is_retry(self) -> bool:
        """Whether an attempt of this run was made before."""
        return self.attempt > 1

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of this run, and never used for another."""
        return self._context.request.idempotency_key

    @property
    def jobs(self) -> "JobClient":
        """A client on the worker's connection; its calls are made once per run."""
        return self._context.jobs()

    def terminate(self, reason: str | None = None) -> None:
        """End the instance once this attempt has succeeded."""
        self.terminated = True
        self.terminate_reason = reason

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is: shown by the Temporal UI with the pending activity."""
        shown = {"done": done, "total": total, "message": message}
        self._context.progress({name: v for name, v in shown.items() if v is not None})


def aware(value: datetime, what: str) -> datetime:
    """`value` itself; raises `ValueError` where it has no time zone."""
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"{what} needs an aware datetime, such as datetime.now(UTC)")
    return value
