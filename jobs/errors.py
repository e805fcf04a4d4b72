"""Errors of this library. Messages name the job, the key, the limit and what to do."""

from datetime import datetime, timedelta

from .spans import cut


class JobsError(Exception):
    """Base of every error this library raises."""


class DefinitionError(JobsError):
    """A job class is wrong. Raised when the job is registered, before any connection."""


class InvalidArgument(JobsError, TypeError, ValueError):
    """An argument has a wrong type or value. Nothing was sent.

    It is a `TypeError` and a `ValueError` too, so that either catches it.
    """


class InvalidKey(JobsError):
    """A key is empty, or too long for a workflow ID. Nothing was sent."""


class InvalidEvent(JobsError):
    """An event does not fit the job's event type, or its JSON would not be read back the same.

    Says where it is wrong, never its content. Nothing was sent.
    """


class InvalidState(JobsError):
    """A state or a reply does not fit its type, or its JSON would not be read back the same.

    Says where it is wrong, never its content. Where a handler left it, the run has failed for good
    and the state before it is kept.
    """


class PayloadTooLarge(JobsError):
    """An event over 256 KB or a state over 512 KB."""


class StateMismatch(JobsError):
    """A stored state no longer fits its type, and no `upgrade_state` made it fit."""


class Busy(JobsError):
    """An instance, or the server for it, takes no more at the moment. Nothing accepted is lost."""


class InvalidSettings(JobsError):
    """A setting cannot be used. The message names it and says what is expected."""


class TemporalUnreachable(JobsError):
    """No Temporal server answered at the address within the time limit."""


class NoWorker(JobsError, TimeoutError):
    """No worker answered within the call's time. Names the task queue. It is a `TimeoutError` too.

    What was sent by a signal stays, and takes effect once a worker runs.
    """


class NoReply(JobsError, TimeoutError):
    """An `ask` got no reply in time. Says how its event fares, which stays queued."""


class JobFailed(JobsError):
    """The run that an `ask` waited for failed for good, or its instance ended before it ran."""


class NonRetryable(JobsError):
    """Raised by user code: the run has failed for good, do not try again."""


class Later(JobsError):
    """Base of what user code raises to go on with a run later."""

    def __init__(self, when: timedelta | datetime, message: str = "") -> None:
        name = type(self).__name__
        if not isinstance(when, timedelta | datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgument(
                f"{name} takes a timedelta, such as timedelta(seconds=30), or an aware "
                f"datetime; it got {when!r}"
            )
        if isinstance(when, datetime) and when.utcoffset() is None:
            raise InvalidArgument(f"{name} needs an aware datetime, such as datetime.now(UTC)")
        super().__init__(message or f"go on after {when}")
        self.when = when

    def delay(self, now: datetime) -> timedelta:
        """The wait from `now`: from none to ten years."""
        return cut(self.when - now if isinstance(self.when, datetime) else self.when)


class RetryAfter(Later):
    """Raised by user code: try again after a delay, or at a time. Counts as an attempt.

    `when` is a `timedelta` from now or an aware `datetime`. The wait is cut to ten years.

    Raises:
        InvalidArgument: `when` is neither.
    """

    def __init__(self, when: timedelta | datetime, message: str = "") -> None:
        super().__init__(when, message or f"retry after {when}")


class Snooze(Later):
    """Raised by user code: go on with this run later, as if this attempt had not been.

    It counts for nothing: it is no attempt, and its wait is no part of `max_duration`. The
    checkpoint is kept. `when` is as for `RetryAfter`.
    """
