"""How the collector is doing: when to send the next request, and what to tell waiters."""

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

logger: logging.Logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal["unavailable", "misconfigured"]


@dataclass(frozen=True, slots=True)
class Pace:
    """The courier's waits, in seconds, and its limits. The defaults are for production."""

    linger: float = 0.2
    """The least time between two requests that are not full: events that come meanwhile share."""

    slow: float = 1.0
    """How long an answer may take, if deliveries are to wait for it."""

    first_wait: float = 0.25
    longest_wait: float = 60.0
    first_misconfigured_wait: float = 30.0
    longest_misconfigured_wait: float = 300.0
    longest_retry_after: float = 3600.0
    request_limit: float = 300.0
    min_retry_time: float = 3600.0
    """How long an event is tried, however old it comes in, as from a reconciliation."""

    max_requests: int = 4
    max_batch_bytes: int = 1_000_000
    max_pending: int = 20_000
    max_pending_bytes: int = 64_000_000
    max_verdicts: int = 100_000

    def wait(self, kind: Kind, failures: int) -> float:
        """How long to wait after so many failures in a row: exponential, with jitter."""
        doubled = 2.0 ** min(failures - 1, 30)
        if kind == "misconfigured":
            slowly = min(self.first_misconfigured_wait * doubled, self.longest_misconfigured_wait)
            return slowly * random.uniform(0.9, 1.1)
        return random.uniform(0, min(self.first_wait * doubled, self.longest_wait))


@dataclass(frozen=True, slots=True)
class Trouble:
    """The last problem with the collector that is not over yet."""

    message: str
    next_try_in: timedelta
    kind: Kind


class Health:
    """Follows the requests' outcomes. Times are those of `time.monotonic`.

    `opened` is called when the breaker opens, so that whoever cannot wait is let go.
    """

    def __init__(self, pace: Pace, opened: Callable[[], None]) -> None:
        self._pace = pace
        self._opened = opened
        self._slow_in_a_row = 0
        self._last_failure = -math.inf
        self._kind: Kind | None = None
        self._message = ""
        self.failures: int = 0
        self.is_open: bool = False
        self._backing_off_until = -math.inf
        self._asked_until = -math.inf
        self.last_success: float = -math.inf

    @property
    def hold_until(self) -> float:
        """When the next request may be sent."""
        return max(self._backing_off_until, self._asked_until)

    @property
    def parallel(self) -> int:
        """How many requests may be under way: one while the collector fails."""
        return 1 if self.failures else self._pace.max_requests

    @property
    def trouble(self) -> Trouble | None:
        """What keeps all events from being delivered, if anything does."""
        if self._kind is None:
            return None
        wait = max(0.0, self.hold_until - time.monotonic())
        return Trouble(self._message, timedelta(seconds=wait), self._kind)

    def answered(self, started: float, *, accepted: bool) -> None:
        """A request that began at `started` was answered, if only to refuse an event."""
        now = time.monotonic()
        if accepted:
            self.last_success = now
        if self._kind is not None:
            logger.info("tracking events can be sent again")
        self._kind = None
        self.failures = 0
        self._backing_off_until = -math.inf
        self._measure(now - started)

    def failed(self, kind: Kind, message: str, started: float, least: float) -> None:
        """The collector failed; `least` is the wait that it asked for."""
        now = time.monotonic()
        # Requests that were under way together fail together: that is one failure.
        if started >= self._last_failure or not self.failures:
            self.failures += 1
            self._last_failure = now
        wait = max(self._pace.wait(kind, self.failures), least)
        self._backing_off_until = max(self._backing_off_until, now + wait)
        self.hold(least)
        self._say(kind, message, wait)
        self._message = message
        self._open()

    def hold(self, least: float) -> None:
        """Send nothing for so long, whatever succeeds meanwhile: the collector asked for it."""
        self._asked_until = max(self._asked_until, time.monotonic() + least)

    def _measure(self, took: float) -> None:
        if took <= self._pace.slow:
            self._slow_in_a_row = 0
            self.is_open = False
            return
        self._slow_in_a_row += 1
        if self._slow_in_a_row >= 2:
            self._open()

    def _open(self) -> None:
        if not self.is_open:
            self.is_open = True
            self._opened()

    def _say(self, kind: Kind, message: str, wait: float) -> None:
        if kind == self._kind:
            return
        self._kind = kind
        if kind == "misconfigured":
            logger.error(
                "tracking is set up wrongly: %s. Events are kept and tried again from time to"
                " time; correct the tracking URL or its headers. Next try in %.0f s",
                message,
                wait,
            )
        else:
            logger.warning("tracking events are kept: %s. Next try in %.1f s", message, wait)
