"""The interceptor around handlers: the one point through which all user code runs."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from durable_jobs.definitions.threads import ThreadError
from durable_jobs.protocol import Detail, RunRequest, RunResult, Verdicts
from durable_jobs.wire import model_from_raw, to_raw

from .attempt import Attempt
from .burst import Burst, was_stopped
from .config import Tracking
from .courier import Courier
from .delivery import submit, summary
from .metrics import Metrics, Outcome

HANDLER_MARK = "__durable_jobs_handler__"


class TrackingInterceptor(Interceptor):
    """Times each attempt of a handler, reports what came of it, and decides on its retry."""

    def __init__(
        self, tracking: Tracking | None, courier: Courier | None, metrics: Metrics | None = None
    ) -> None:
        self._tracking = tracking
        self._courier = courier
        self._metrics = metrics or Metrics()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """See base class."""
        return _AroundHandlers(next, self._tracking, self._courier, self._metrics)


class _AroundHandlers(ActivityInboundInterceptor):
    def __init__(
        self,
        next: ActivityInboundInterceptor,  # noqa: A002
        tracking: Tracking | None,
        courier: Courier | None,
        metrics: Metrics,
    ) -> None:
        super().__init__(next)
        self._tracking = tracking
        self._courier = courier
        self._metrics = metrics

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        """Run a handler's attempt; other activities pass."""
        if not hasattr(input.fn, HANDLER_MARK):
            return await super().execute_activity(input)
        request = model_from_raw(RunRequest, input.args[0])
        attempt = Attempt(request, self._tracking)
        await attempt.open()
        self._send(request.outbox)
        alive = asyncio.create_task(attempt.keep_alive())
        try:
            result = await self._handle(attempt, input)
        finally:
            alive.cancel()
        told = {"verdicts": self._known(request), "delivers": self._delivers()}
        return to_raw(result.model_copy(update=told))

    async def _handle(self, attempt: Attempt, input: ExecuteActivityInput) -> RunResult:  # noqa: A002
        first = await self._run(attempt, input)
        if not isinstance(first, RunResult):
            if was_stopped(first):
                raise attempt.cut_off() from None
            attempt.verdicts = self._known(attempt.request)
            error = await attempt.failed(first)
            raise error from error.__cause__
        first = first.model_copy(
            update={"executed": attempt.executed(), "earlier": attempt.unreported}
        )
        return await Burst(attempt, first, lambda: self._run(attempt, input)).result()

    async def _run(
        self,
        attempt: Attempt,
        input: ExecuteActivityInput,  # noqa: A002
    ) -> RunResult | BaseException:
        began = time.monotonic()
        outcome = await self._outcome(attempt, input)
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

    def _send(self, events: list[Detail]) -> None:
        if self._courier is not None and self._tracking is not None:
            submit(self._courier, self._tracking, events)

    def _delivers(self) -> bool:
        """Whether events get through at once, with no code of the user's on their way."""
        if self._courier is None or self._tracking is None:
            return False
        return self._tracking.before_send is None and self._courier.prompt

    def _known(self, request: RunRequest) -> Verdicts | None:
        ids = [*(event["eventId"] for event in request.outbox), *request.asked]
        if self._courier is None or not ids:
            return None
        return summary(self._courier, self._courier.verdicts(ids))


def _word(outcome: RunResult | BaseException) -> Outcome:
    if isinstance(outcome, RunResult):
        return "succeeded"
    return "cut_off" if was_stopped(outcome) else "failed"
