"""Attempts that are made outside their instance, which continues as new beside them.

Continue-as-new leaves an activity of the instance's own behind. So where events come in such number
that an attempt would outlast what one history takes, a workflow of its own makes the activity, and
tells the instance what came of it, in whichever run of its workflow that then is.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.converter import DefaultFailureConverter
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ParentClosePolicy

from durable_jobs.names import ATTEMPT_WORKFLOW, LOOK_SIGNAL, OUTCOME_SIGNAL
from durable_jobs.protocol import Away, Outcome
from durable_jobs.wire import model_from_raw, to_raw

from . import runs

LOOK_EVERY = timedelta(minutes=5)
"""Whether an attempt's workflow is still there: somebody may have ended it."""

LONGEST_WAIT = timedelta(minutes=10)
"""Between two tries to tell an instance that takes no signal."""

_GONE = "ExternalWorkflowExecutionNotFound"
"""The error type with which the SDK says that a workflow has ended, or never was."""

Told = dict[str, tuple[Outcome, RawValue | None]]
"""What instances were told of attempts, by the workflow that made them."""


@workflow.defn(name=ATTEMPT_WORKFLOW, sandboxed=False)
class JobAttempt:
    """Makes one activity of an instance's run."""

    @workflow.run
    async def run(self, away: RawValue, request: RawValue) -> None:
        """End once the instance was told what came of it, or is no more."""
        given = model_from_raw(Away, away)
        workflow.set_current_details(f"{given.terms.activity} for `{given.instance_id}`")
        activity = runs.start(given.terms, request)
        await _end_of(asyncio.ensure_future(activity))
        telling = _tell(given.instance_id, _told(activity))
        await _end_of(asyncio.create_task(telling), stop=False)

    @workflow.signal(name=LOOK_SIGNAL)
    def look(self) -> None:
        """Somebody wants to know whether it is there."""


async def _end_of(task: asyncio.Task[Any], *, stop: bool = True) -> None:
    """Wait for it, also where the workflow is cancelled; that is passed on where it may stop it."""
    while not task.done():
        try:
            await workflow.wait_condition(task.done)
        except asyncio.CancelledError:
            if stop:
                task.cancel()


def _told(activity: workflow.ActivityHandle[Any]) -> list[RawValue]:
    outcome = Outcome(place=workflow.info().workflow_id)
    if activity.cancelled():
        return [to_raw(outcome)]
    error = activity.exception()
    if error is None:
        return [to_raw(outcome), activity.result()]
    if isinstance(error, ActivityError) and error.failure is not None:
        failure = b64encode(error.failure.SerializeToString()).decode()
        outcome = outcome.model_copy(update={"failure": failure})
    return [to_raw(outcome)]


async def _tell(instance_id: str, told: list[RawValue]) -> None:
    """Try until the instance was told or is no more; one that hears nothing tries the run again."""
    wait = timedelta(seconds=1)
    while True:
        try:
            instance = workflow.get_external_workflow_handle(instance_id)
            await instance.signal(OUTCOME_SIGNAL, args=told)
        except FailureError as error:
            if _is_gone(error):
                return
            wait = min(wait, LONGEST_WAIT)
            workflow.logger.warning(
                "%s could not be told of its attempt, next try in %s: %s", instance_id, wait, error
            )
            await asyncio.sleep(wait.total_seconds())
            wait *= 2
        else:
            return


def _is_gone(error: FailureError) -> bool:
    return isinstance(error, ApplicationError) and error.type == _GONE


class Elsewhere:
    """The activity that such a workflow makes, as the instance sees it."""

    def __init__(self, place: str, told: Told) -> None:
        self._place = place
        self._told = told
        self._cancelling: asyncio.Task[None] | None = None

    async def begin(self, away: Away, request: RawValue) -> None:
        """Start its workflow; it exists once this returns."""
        try:
            await workflow.start_child_workflow(
                ATTEMPT_WORKFLOW,
                args=[to_raw(away), request],
                id=self._place,
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=f"{away.terms.activity} for {away.instance_id}",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s is under way already", self._place)

    def done(self) -> bool:
        """Whether the instance was told."""
        return self._place in self._told

    def cancel(self) -> None:
        """Ask it to end."""
        self._cancelling = asyncio.create_task(self._cancel())

    async def _cancel(self) -> None:
        try:
            await workflow.get_external_workflow_handle(self._place).cancel()
        except FailureError as error:
            workflow.logger.info("%s has ended meanwhile: %s", self._place, error)

    async def look(self) -> None:
        """Take it for cut off where its workflow is no more."""
        try:
            await workflow.get_external_workflow_handle(self._place).signal(LOOK_SIGNAL)
        except FailureError as error:
            if _is_gone(error) and not self.done():
                self._told[self._place] = Outcome(place=self._place), None

    def __await__(self) -> Generator[Any, Any, Any]:
        """Its result, or what it raised."""
        return self._result().__await__()

    async def _result(self) -> RawValue:
        outcome, result = self._told.pop(self._place)
        if outcome.failure is not None:
            failure = Failure.FromString(b64decode(outcome.failure))
            raise DefaultFailureConverter().from_failure(failure, workflow.payload_converter())
        if result is None:
            raise asyncio.CancelledError
        return result


def read_outcome(args: Sequence[RawValue]) -> tuple[Outcome, RawValue | None]:
    """What an instance is told; raises `ValueError` where it is something else."""
    if not args:
        raise ValueError("no outcome")
    return model_from_raw(Outcome, args[0]), args[1] if len(args) > 1 else None
