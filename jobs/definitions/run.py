"""What a handler gets to see of its run."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from ..arguments import check_is_text, check_number
from ..logs import RunLogger
from ..protocol import Checkpoint, Detail, Options, RunRequest
from ..status import Progress
from ..wire import JSON, MAX_TEXT, as_unicode

if TYPE_CHECKING:
    from ..client import JobClient

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the activity knows of the attempt it makes."""

    request: RunRequest
    options: Options
    """The job's, as this worker has them."""

    instance_id: str
    attempt: int
    jobs: "Callable[[], JobClient]"
    now: Callable[[], datetime]
    """By the server's clock, which is the one that alarms go by."""

    progress: Callable[[Detail], None]
    begins_with: Callable[[JSON], None]
    """Notes the state that the handler is about to see."""

    last_progress: Progress | None
    restored: Checkpoint | None
    """Made by an earlier attempt."""

    checkpoint: Callable[[Any], Coroutine[Any, Any, None]]
    from_thread: Callable[[Coroutine[Any, Any, None]], None]
    """Waits, in a thread, for what the event loop does."""


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

    @property
    def logger(self) -> RunLogger:
        """The logger `durable_jobs.job.{name}`. Each line has this run's fields.

        They are attributes of the `LogRecord`: `instance_id`, `job_name`, `key`, `handler`,
        `run_count` and `attempt`. The worker's command prints them, as text or as JSON.
        """
        return RunLogger(self._context.request)

    def _now(self) -> datetime:
        return self._context.now()

    def terminate(self, reason: str | None = None) -> None:
        """End the instance once this attempt has succeeded. Keeps 1,000 characters of a reason."""
        check_is_text(reason, "run.terminate: the reason")
        self.terminated = True
        self.terminate_reason = reason and as_unicode(reason)[:MAX_TEXT]

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is: shown by `status` and with the activity in the Temporal UI.

        Raises:
            TypeError: `done` or `total` is no finite number, or `message` no text.
        """
        check_number(done, "run.progress: done")
        if total is not None:
            check_number(total, "run.progress: total")
        check_is_text(message, "run.progress: the message")
        shown = {"done": done, "total": total, "message": message and as_unicode(message)}
        self._context.progress({name: v for name, v in shown.items() if v is not None})

    @property
    def last_progress(self) -> Progress | None:
        """What an earlier attempt of this run last said by `progress`; None where none did."""
        return self._context.last_progress

    async def checkpoint(self) -> None:
        """Keep the state as it is for the next attempt of this run, should this one fail.

        Durable once awaited, whatever becomes of the worker. Where the run fails for good, the
        instance's state is what it was before the run.

        Raises:
            PayloadTooLarge: the state has over 512 KB.
        """
        await self._context.checkpoint(self.state)

    def checkpoint_sync(self) -> None:
        """The same for a plain `def` handler: returns once the state is durable."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._context.from_thread(self._context.checkpoint(self.state))
        else:
            raise RuntimeError("checkpoint_sync() is for plain handlers: await run.checkpoint()")
