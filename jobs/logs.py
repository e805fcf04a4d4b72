"""What log lines of users' code say of the run that writes them."""

import logging
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from .protocol import RunRequest

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

JOB_LOGGERS = "durable_jobs.job"
"""`durable_jobs.job.poll` is the logger of the job `poll`."""


class HasRequest(Protocol):
    """An attempt. In a burst of events its request changes."""

    @property
    def request(self) -> RunRequest:
        """What it was asked to do."""
        ...


_at_hand: ContextVar[HasRequest | None] = ContextVar("durable_jobs_attempt_at_hand", default=None)


def note_attempt(attempt: HasRequest) -> None:
    """Have what is logged from here on belong to an attempt."""
    _at_hand.set(attempt)


def fields_at_hand() -> Mapping[str, Any]:
    """What a line has that is logged here and now; empty outside of attempts."""
    attempt = _at_hand.get()
    return {} if attempt is None else fields_of(attempt.request)


def fields_of(request: RunRequest) -> dict[str, Any]:
    """What the lines of an attempt have, as attributes of a `logging.LogRecord`."""
    return {
        "instance_id": request.instance_id,
        "job_name": request.job,
        "key": request.key,
        "handler": request.handler,
        "run_count": request.run_count,
        "attempt": request.attempt,
    }


class RunLogger(_Adapter):
    """Logs with the fields of a run. `extra` of a call adds to them."""

    def __init__(self, request: RunRequest) -> None:
        name = f"{JOB_LOGGERS}.{request.job}"
        super().__init__(logging.getLogger(name), fields_of(request))

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """See base class, which would drop what a call gives."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs
