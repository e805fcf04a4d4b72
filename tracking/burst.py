"""One activity that handles a burst of events: one after another, each a run of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from temporalio import activity

from durable_jobs.burst import following
from durable_jobs.protocol import RunRequest, RunResult
from durable_jobs.wire import size

from .attempt import Attempt

MAX_SECONDS = 1.0
"""No further event is begun after so long: a caller's `pause` or `trigger` waits for the end."""

MAX_BYTES = 256 * 1024
"""Of results, the state aside. All go into one payload, which may have 2 MB."""

Call = Callable[[], Awaitable[RunResult | BaseException]]


class Burst:
    """The events after the first, whose attempt has succeeded."""

    def __init__(self, attempt: Attempt, first: RunResult, call: Call) -> None:
        self._attempt = attempt
        self._first_request = attempt.request
        self._call = call
        self._results = [first]
        self._bytes = size(first.detail)
        self._ends_at = asyncio.get_running_loop().time() + MAX_SECONDS

    async def result(self) -> RunResult:
        """Handle what can be handled now; gives all results in one."""
        reached = None
        while (request := self._next()) is not None:
            self._attempt.begin(request)
            outcome = await self._call()
            if isinstance(outcome, RunResult):
                self._take(outcome)
                continue
            reached = self._attempt.reached(None if was_stopped(outcome) else outcome)
            break
        first, *after = self._without_old_states()
        return first.model_copy(update={"after": after, "reached": reached})

    def _next(self) -> RunRequest | None:
        more = self._first_request.detail.get("more", [])
        index, last = len(self._results), self._results[-1]
        if index > len(more) or last.terminate or self._has_enough():
            return None
        request = following(self._first_request, self._attempt.request, last, index)
        alarm = request.detail["scheduled_at"]
        rings = alarm is not None and datetime.fromisoformat(alarm) <= self._attempt.now()
        return None if rings else request

    def _has_enough(self) -> bool:
        late = asyncio.get_running_loop().time() >= self._ends_at
        stopping = activity.is_cancelled() or activity.is_worker_shutdown()
        return late or stopping or self._bytes > MAX_BYTES

    def _take(self, result: RunResult) -> None:
        done = result.model_copy(
            update={
                "executed": self._attempt.executed() if result.ran else None,
                "earlier": self._attempt.unreported if result.ran else [],
                "options": None,
            }
        )
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
