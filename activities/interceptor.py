"""The interceptor around handlers: the one point through which all user code runs."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from durable_jobs.definitions.threads import ThreadError
from durable_jobs.protocol import Options, RunRequest, RunResult
from durable_jobs.tracking.config import Tracking
from durable_jobs.tracking.metrics import AttemptOutcome, Metrics
from durable_jobs.wire import model_from_raw, to_raw

from .attempt import Attempt, paused_by
from .burst import Burst, Following, was_stopped
from .pauses import Pauses
from .spans import processing

HANDLER_MARK = "__durable_jobs_handler__"


@dataclass(frozen=True)
class Handler:
    """What the interceptor needs to know of a handler's activity, which carries it."""

    name: str
    """The activity's."""

    options: Options
    """The job's, as this worker has them."""

    following: Following


class TrackingInterceptor(Interceptor):
    """Times each attempt of a handler, and says what came of it."""

    def __init__(self, tracking: Tracking | None, metrics: Metrics | None = None) -> None:
        self._tracking = tracking
        self._metrics = metrics or Metrics()
        self._pauses = Pauses()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """See base class."""
        return _AroundHandlers(next, self._tracking, self._metrics, self._pauses)


class _AroundHandlers(ActivityInboundInterceptor):
    def __init__(
        self,
        next: ActivityInboundInterceptor,  # noqa: A002
        tracking: Tracking | None,
        metrics: Metrics,
        pauses: Pauses,
    ) -> None:
        super().__init__(next)
        self._tracking = tracking
        self._metrics = metrics
        self._pauses = pauses

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        """Run a handler's attempt; other activities pass."""
        handler: Handler | None = getattr(input.fn, HANDLER_MARK, None)
        if handler is None:
            return await super().execute_activity(input)
        request = model_from_raw(RunRequest, input.args[0])
        if (pause := await self._pauses.of(request.job)) is not None:
            raise paused_by(pause, request)
        attempt = Attempt(request, handler.options, self._tracking)
        attempt.open()
        alive = asyncio.create_task(attempt.keep_alive())
        try:
            return to_raw(await self._handle(attempt, input, handler))
        finally:
            alive.cancel()

    async def _handle(
        self,
        attempt: Attempt,
        input: ExecuteActivityInput,  # noqa: A002
        handler: Handler,
    ) -> RunResult:
        first = await self._run(attempt, input)
        if not isinstance(first, RunResult):
            if was_stopped(first):
                raise attempt.cut_off() from None
            error = attempt.failed(first)
            raise error from error.__cause__
        executed = attempt.executed() if first.ran else None
        first = first.model_copy(update={"executed": executed, "options": attempt.newer_options})
        return await Burst(
            attempt, first, lambda: self._run(attempt, input), handler.following
        ).result()

    async def _run(
        self,
        attempt: Attempt,
        input: ExecuteActivityInput,  # noqa: A002
    ) -> RunResult | BaseException:
        began = time.monotonic()
        with processing(attempt.request) as note:
            outcome = await self._outcome(attempt, input)
            note(outcome)
        self._metrics.attempted(attempt.request, _word(outcome), time.monotonic() - began)
        return outcome

    async def _outcome(
        self,
        attempt: Attempt,
        input: ExecuteActivityInput,  # noqa: A002
    ) -> RunResult | BaseException:
        limit = timedelta(seconds=attempt.request.timeout)
        scope = asyncio.timeout(limit.total_seconds())
        try:
            async with scope:
                return await super().execute_activity(input)
        except ThreadError as error:
            return error.__cause__ or error
        except BaseException as error:
            # What is no `Exception` is the handler's failure too. The process's own end passes
            # elsewhere: Ctrl-C cancels the main task, and attempts hear of it as `CancelledError`.
            if isinstance(error, TimeoutError) and scope.expired():
                return TimeoutError(f"the attempt took longer than its timeout of {limit}")
            return error


def _word(outcome: RunResult | BaseException) -> AttemptOutcome:
    if isinstance(outcome, RunResult):
        return "succeeded"
    return "cut_off" if was_stopped(outcome) else "failed"
