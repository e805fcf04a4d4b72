"""What a sink is, and the answers it can give for one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, TypeAlias

from durable_jobs.tracking.wire import WireEvent

DEFAULT_BATCH_SIZE = 100


@dataclass(frozen=True, slots=True)
class Accepted:
    """The batch arrived. `rejected` names events refused for good, each with the reason."""

    rejected: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The batch may pass later: an outage, a time-out, a rate limit.

    `retry_after` is the least wait, at most 1 h of which is kept.
    """

    message: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The batch is too large; half of it may pass."""

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Something in the batch will never pass; without it the others may."""

    message: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Nothing will pass until somebody corrects the set-up: the address, a token."""

    message: str


SendResult: TypeAlias = Accepted | RetryLater | TooLarge | Refused | Misconfigured
"""How sending one batch ended."""


class Sink(Protocol):
    """Where tracking events go.

    A sink may have an `int` attribute `batch_size`, the most events it takes at once (100).
    """

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """Send one batch once, oldest event first, without retrying.

        The same event can come again, with the same `eventId`. An exception means "retry later".
        """
        ...

    async def close(self) -> None:
        """Release connections. A later `send` may open them again."""
        ...


def batch_size_of(sink: Sink) -> int:
    """The most events that the sink takes at once."""
    size = getattr(sink, "batch_size", DEFAULT_BATCH_SIZE)
    return size if isinstance(size, int) and size > 0 else DEFAULT_BATCH_SIZE
