"""The activities that run the user's handlers, one per job and handler."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

from temporalio import activity
from temporalio.common import RawValue

from durable_jobs.definitions import Job
from durable_jobs.definitions.codec import codec_of
from durable_jobs.definitions.run import RunContext
from durable_jobs.protocol import Detail, RunRequest, RunResult
from durable_jobs.registry import Registry
from durable_jobs.status import Progress

from .attempt import current_attempt
from .interceptor import HANDLER_MARK, Handler

ClientFactory = Callable[[RunRequest], Any]
"""Makes the `JobClient` that a run sees as `run.jobs`."""

HandlerActivity = Callable[[RawValue], Awaitable[RunResult]]

Running = set["asyncio.Task[Any]"]
"""The tasks in which handlers run now."""


def handler_activities(
    registry: Registry, jobs_for: ClientFactory, running: Running
) -> list[HandlerActivity]:
    """An activity named `{job}.{handler}` for each handler that a job has.

    `running` is kept up to date by them.
    """
    return [
        _activity(registry, job, handler, jobs_for, running)
        for job in registry
        for handler in job.handlers
        if type(job).has(handler)
    ]


def _activity(
    registry: Registry, job: Job, handler: str, jobs_for: ClientFactory, running: Running
) -> HandlerActivity:
    codec, name = codec_of(type(job)), f"{job.name}.{handler}"

    @activity.defn(name=name)
    async def run_handler(payload: RawValue) -> RunResult:
        # The interceptor has read the payload.
        attempt = current_attempt()
        request = attempt.request
        context = RunContext(
            request=request,
            options=registry.options(job.name),
            instance_id=request.instance_id,
            attempt=request.attempt,
            jobs=_once(lambda: jobs_for(request)),
            now=attempt.now,
            progress=attempt.progress,
            begins_with=attempt.begins_with,
            last_progress=_progress(attempt.last_progress),
            restored=attempt.checkpoint_kept,
            checkpoint=lambda state: attempt.checkpoint(
                codec.dump_state(state, request.key), job.state_version
            ),
            from_thread=attempt.from_thread,
        )
        with _noted(running):
            return await job.perform(context)

    setattr(run_handler, HANDLER_MARK, Handler(name, registry.options(job.name), job.following))
    return run_handler


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    """Makes something when it is first asked for; `functools.cache` takes longer to set up."""
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get


@contextmanager
def _noted(running: Running) -> Generator[None]:
    task = asyncio.current_task()
    assert task is not None
    running.add(task)
    try:
        yield
    finally:
        running.discard(task)


def _progress(shown: Detail | None) -> Progress | None:
    return None if shown is None else Progress(**shown)
