"""Makes attempts in memory, through the same code as a worker's activities."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from temporalio.activity import Info
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from durable_jobs.activities.attempt import current_attempt
from durable_jobs.activities.handlers import HandlerActivity, handler_activities
from durable_jobs.activities.interceptor import HANDLER_MARK, TrackingInterceptor
from durable_jobs.activities.library import LibraryActivities
from durable_jobs.client import JobClient
from durable_jobs.definitions.threads import ThreadError
from durable_jobs.names import DESCRIBE, FIND_JOB, FOLD, JUDGE, NEXT_DUE
from durable_jobs.protocol import Detail, RunRequest, RunResult, TrackingIdentity
from durable_jobs.registry import Registry
from durable_jobs.tracking import Tracking
from durable_jobs.wire import model_from_raw, to_raw
from durable_jobs.workflows.attempts import REPORTING_TIME, outcome_of_error
from durable_jobs.workflows.machines.run import CutOff, Outcome, Succeeded
from durable_jobs.workflows.machines.steps import Call

QUEUE = "simulation"
"""The task queue of what runs in memory."""

_PLAIN: Info = ActivityEnvironment.default_info()


@dataclass(frozen=True)
class Ran:
    """One attempt of a run: one call of a handler."""

    job: str
    key: str
    handler: str
    run_count: int
    """The number of the run, from 1."""

    attempt: int
    """The number of the attempt of that run, from 1."""

    at: datetime
    """When it began."""

    idempotency_key: str
    error: BaseException | None = None
    """What it raised; None where it succeeded."""

    state: Any = None
    """The state that it left, as JSON."""


class Worker:
    """Knows jobs, makes their attempts, and answers what machines ask of a worker.

    `note` gets each attempt once it has ended.
    """

    def __init__(
        self,
        registry: Registry,
        tracking: Tracking | None,
        client: Client,
        note: Callable[[Ran], None],
    ) -> None:
        self.registry = registry
        self.context: Context = copy_context()
        """What attempts begin with: as on a server, nothing of whoever brings their events."""

        self.identity: TrackingIdentity | None = tracking.identity if tracking else None
        self._client = client
        made = handler_activities(registry, self._jobs_of, set())
        self._handlers = {getattr(each, HANDLER_MARK).name: _noting(each, note) for each in made}
        self._around = TrackingInterceptor(tracking).intercept_activity(_Innermost())
        library = LibraryActivities(registry)
        self.library: dict[str, Callable[[RawValue], Awaitable[RawValue]]] = {
            DESCRIBE: library.describe,
            FIND_JOB: library.find_job,
            FOLD: library.fold,
            JUDGE: library.judge,
            NEXT_DUE: library.next_due,
        }

    def _jobs_of(self, request: RunRequest) -> JobClient:
        return JobClient(self._client, task_queue=QUEUE, once=request.idempotency_key)

    async def attempt(
        self, request: RunRequest, at: datetime, beat: Callable[[Detail], None]
    ) -> Outcome:
        """What history would say of an attempt that begins now.

        `beat` gets what each heartbeat says.
        """
        try:
            raw = await self.execute(request, at, beat)
        except asyncio.CancelledError:
            return CutOff()
        except ApplicationError as error:
            return outcome_of_error(error)
        return Succeeded(model_from_raw(RunResult, raw))

    async def execute(
        self, request: RunRequest, at: datetime, beat: Callable[[Detail], None]
    ) -> RawValue:
        """The result of the attempt's activity; raises what the activity raises."""
        environment = ActivityEnvironment(self._client)
        environment.on_heartbeat = beat
        environment.info = self._info(request, at)
        handler = self._handlers[f"{request.job}.{request.handler}"]
        given = ExecuteActivityInput(handler, [to_raw(request)], None, {})
        try:
            return await environment.run(self._around.execute_activity, given)
        finally:
            # The attempt's heartbeats end here too.
            await asyncio.sleep(0)

    def _info(self, request: RunRequest, at: datetime) -> Info:
        heartbeat = self.registry.options(request.job).heartbeat_timeout
        return dataclasses.replace(
            _PLAIN,
            activity_type=f"{request.job}.{request.handler}",
            workflow_id=request.instance_id,
            task_queue=QUEUE,
            scheduled_time=at,
            current_attempt_scheduled_time=at,
            started_time=at,
            heartbeat_timeout=timedelta(seconds=heartbeat),
            start_to_close_timeout=timedelta(seconds=request.timeout) + REPORTING_TIME,
            schedule_to_close_timeout=None,
        )

    async def answer(self, call: Call) -> BaseModel | str:
        """What a worker answers, or why there is no answer."""
        try:
            raw = await self.library[call.name](to_raw(call.request))
        except ApplicationError as error:
            return str(error)
        return model_from_raw(call.answer, raw)


class _Innermost(ActivityInboundInterceptor):
    """Calls the activity itself, as the SDK does."""

    def __init__(self) -> None:
        # There is nothing further in.
        pass

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        """See base class."""
        return await input.fn(*input.args)


def _noting(handler: HandlerActivity, note: Callable[[Ran], None]) -> HandlerActivity:
    """The same activity; each of its calls is noted."""

    async def noted(raw: RawValue) -> RunResult:
        attempt = current_attempt()
        request = attempt.request
        ran = Ran(
            job=request.job,
            key=request.key,
            handler=request.handler,
            run_count=request.run_count,
            attempt=request.attempt,
            at=attempt.now(),
            idempotency_key=request.idempotency_key,
        )
        try:
            result = await handler(raw)
        except BaseException as error:
            note(dataclasses.replace(ran, error=_own(error, attempt.now() - ran.at, request)))
            raise
        if result.ran:
            note(dataclasses.replace(ran, state=result.state))
        return result

    setattr(noted, HANDLER_MARK, getattr(handler, HANDLER_MARK))
    return noted


def _own(error: BaseException, took: timedelta, request: RunRequest) -> BaseException:
    """The error as the user's code raised it, or that of the time limit that cut it short."""
    limit = timedelta(seconds=request.timeout)
    if isinstance(error, asyncio.CancelledError) and took >= limit:
        return TimeoutError(f"the attempt took longer than its timeout of {limit}")
    return error.__cause__ or error if isinstance(error, ThreadError) else error
