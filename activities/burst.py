"""One activity that handles a burst of events: one after another, each a run of its own."""

import asyncio
from collections.abc import Awaitable, Callable

from temporalio import activity

from durable_jobs.protocol import RunRequest, RunResult
from durable_jobs.values import size

from .attempt import Attempt

MAX_SECONDS = 1.0
"""No further event is begun so long after the activity's begin.

A caller's `pause` or `trigger` waits for the end, and the last event has its time limit left.
"""

MAX_BYTES = 512 * 1024
"""Of results, the state aside. All go into one payload, which may have 2 MB."""

Call = Callable[[], Awaitable[RunResult | BaseException]]
Following = Callable[[RunRequest, RunRequest, RunResult, int], RunRequest | None]
"""What the event at an index is called with, after the last one's request and result."""


class Burst:
    """The events after the first, whose attempt has succeeded."""

    def __init__(
        self, attempt: Attempt, first: RunResult, call: Call, following: Following
    ) -> None:
        self._attempt = attempt
        self._first_request = attempt.request
        self._call = call
        self._following = following
        self._results = [first]
        self._bytes = size(first.detail)
        self._ends_at = attempt.opened + MAX_SECONDS

    async def result(self) -> RunResult:
        """Handle what can be handled now; gives all results in one."""
        end: dict[str, object] = {}
        while (request := self._next()) is not None:
            self._attempt.begin(request)
            outcome = await self._call()
            if isinstance(outcome, RunResult):
                self._take(outcome)
                continue
            if was_stopped(outcome):
                end = {"cut_off": True}
            else:
                end = {"failed": self._attempt.report(outcome)}
            break
        first, *after = self._without_old_states()
        return first.model_copy(update={"after": after, **end})

    def _next(self) -> RunRequest | None:
        index, last = len(self._results), self._results[-1]
        if last.terminate or self._has_enough():
            return None
        request = self._following(self._first_request, self._attempt.request, last, index)
        if request is None:
            return None
        alarm = request.detail.get("scheduled_at")
        rings = alarm is not None and alarm <= self._attempt.now().isoformat()
        return None if rings else request

    def _has_enough(self) -> bool:
        late = asyncio.get_running_loop().time() >= self._ends_at
        stopping = activity.is_cancelled() or activity.is_worker_shutdown()
        return late or stopping or self._bytes > MAX_BYTES

    def _take(self, result: RunResult) -> None:
        executed = self._attempt.executed() if result.ran else None
        done = result.model_copy(update={"executed": executed, "options": None})
        self._results.append(done)
        self._bytes += size([done.detail, done.executed])

    def _without_old_states(self) -> list[RunResult]:
        newest = max((n for n, result in enumerate(self._results) if result.ran), default=0)
        return [
            result if n >= newest else result.model_copy(update={"state": None})
            for n, result in enumerate(self._results)
        ]


def was_stopped(outcome: BaseException) -> bool:
    """Whether an attempt was ended from outside, so that it does not count."""
    stopping = activity.is_cancelled() or activity.is_worker_shutdown()
    # A second Ctrl-C, while the worker stops, is raised in what the event loop happens to run.
    return isinstance(outcome, asyncio.CancelledError | KeyboardInterrupt) and stopping
