"""Jobs on a real Temporal server, which all tests of a session share."""

import asyncio
import time
import uuid
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowInput,
    StartWorkflowUpdateWithStartInput,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper

from durable_jobs.client import JobClient
from durable_jobs.definitions import Job
from durable_jobs.errors import JobsError
from durable_jobs.plugin import JobsPlugin
from durable_jobs.sync.background import Wait
from durable_jobs.sync.making import MakesHandles
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.tracking.wire import WireEvent

from .background import background
from .moments import seconds_of
from .mortal import MortalWorker
from .replays import assert_replays, histories_of

_T = TypeVar("_T")

_LOOK_EVERY = 0.01  # seconds
_LISTED_WITHIN = 10.0  # seconds


class LiveJobs(MakesHandles):
    """Some jobs on a real server, with a worker in this process.

    The server starts with the first of them and stops with the test session. Each has a task queue
    of its own; at its end, instances that are alive are ended. `jobs` is its `JobClient`, for tests
    that are async and for the code under test; `run` makes a call of it where a test is not.
    """

    def __init__(self, jobs: Sequence[Job] | Job) -> None:
        self._jobs = [jobs] if isinstance(jobs, Job) else list(jobs)
        self._sink = MemorySink()
        self._tracking = Tracking(self._sink, env="test", service_key="test")
        # Raises DefinitionError before anything is started.
        self._plugin = JobsPlugin(self._jobs, self._tracking)
        self._queue = f"live-{uuid.uuid4().hex[:12]}"
        self._started = _Started()
        self.client: Client = background.client(interceptors=[self._started])
        self.jobs: JobClient = JobClient(self.client, task_queue=self._queue)
        self._worker = self._new_worker()

    def _new_worker(self) -> MortalWorker:
        worker = MortalWorker(background.server().target, self._queue, [self._started])
        background.run(worker.start(self._jobs, self._tracking))
        return worker

    def _calls(self) -> tuple[JobClient, Wait]:
        return self.jobs, self.run

    def run(self, call: Coroutine[Any, Any, _T]) -> _T:
        """Await a call of `jobs`."""
        return background.run(call)

    @property
    def events(self) -> list[WireEvent]:
        """The tracking events so far, each once, in the order in which they came."""
        return list({event["eventId"]: event for event in self._sink.events}.values())

    def until(
        self, kind: str, count: int = 1, within: timedelta = timedelta(seconds=15)
    ) -> list[WireEvent]:
        """Wait for so many tracking events of a type, such as `debounce.flushed`; gives those.

        Raises:
            AssertionError: they did not come; says what did.
        """
        end = time.monotonic() + within.total_seconds()
        while True:
            found = [event for event in self.events if event["type"] == kind]
            if len(found) >= count:
                return found
            if time.monotonic() >= end:
                came = ", ".join(str(event["type"]) for event in self.events) or "none"
                raise AssertionError(
                    f"{len(found)} of {count} events {kind!r} came within {within}; in all: {came}"
                )
            time.sleep(_LOOK_EVERY)

    def advance(self, span: timedelta | str) -> None:
        """Let time pass for all instances that are alive, such as `"10m"`; it takes no real time.

        Attempts that are under way then are waited for: only an instance's waiting is left out.

        Raises:
            JobsError: the server cannot skip time.
        """
        seconds = seconds_of(span, "LiveJobs.advance")
        self.run(self._advanced(timedelta(seconds=seconds)))

    async def _advanced(self, span: timedelta) -> None:
        skipper = TimeSkipper(self.client)
        await asyncio.gather(*(self._skip(skipper, each, span) for each in self._started.ids))

    async def _skip(self, skipper: TimeSkipper, workflow_id: str, span: timedelta) -> None:
        try:
            await skipper.fast_forward(self.client.get_workflow_handle(workflow_id), span)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                # It has ended.
                return
            raise JobsError(
                f"This Temporal server cannot skip time: {error.message} It is {_source()}. "
                "Version 1.9 of `temporal` and later can."
            ) from error

    def kill_worker(self) -> None:
        """Kill the worker with all that it does, and start another.

        What its handlers did is not reported. The server misses it after the `heartbeat_timeout`
        of a job: give it a short one in a test.
        """
        background.run(self._worker.kill())
        self._worker = self._new_worker()

    def assert_replays(self) -> None:
        """Check that each instance so far does the same again from its history.

        Raises:
            AssertionError: one does not; names it, and where.
        """
        background.run(self._replayed())

    async def _replayed(self) -> None:
        histories = await self._histories()
        await assert_replays(histories, self._plugin, self.client.data_converter)

    async def _histories(self) -> list[Any]:
        """Those of all instances; the server's list may lag a second."""
        end = time.monotonic() + _LISTED_WITHIN
        while True:
            found = await histories_of(self.client, self._queue)
            missing = self._started.ids - {history.workflow_id for history in found}
            if not missing or time.monotonic() > end:
                return found
            await asyncio.sleep(_LOOK_EVERY)

    def close(self) -> None:
        """End the worker, and the instances that are alive."""
        background.run(self._closed())

    async def _closed(self) -> None:
        await self._worker.stop()
        await asyncio.gather(*(self._end(each) for each in self._started.ids))

    async def _end(self, workflow_id: str) -> None:
        try:
            handle = self.client.get_workflow_handle(workflow_id)
            await handle.terminate(reason="the test is over")
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise


def _source() -> str:
    return background.server().source


class _Started(Interceptor):
    """Knows which instances were started."""

    def __init__(self) -> None:
        self.ids = set[str]()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002
        """See base class."""
        return _Noting(next, self.ids)


class _Noting(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, ids: set[str]) -> None:  # noqa: A002
        super().__init__(next)
        self._ids = ids

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        """See base class."""
        self._ids.add(input.id)
        return await super().start_workflow(input)

    async def start_update_with_start_workflow(
        self,
        input: StartWorkflowUpdateWithStartInput,  # noqa: A002
    ) -> WorkflowUpdateHandle[Any]:
        """See base class."""
        self._ids.add(input.start_workflow_input.id)
        return await super().start_update_with_start_workflow(input)
