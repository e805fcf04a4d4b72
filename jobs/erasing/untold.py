"""Tracking events that an instance could not send, since it was ended from outside."""

from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from ..errors import JobsError, NoWorker
from ..handles.instance import Unanswered, answered
from ..names import OUTBOX_QUERY
from ..protocol import Leftover
from ..wire import model_from_raw
from .runs import looked_at

_FROM_OUTSIDE = (WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.TIMED_OUT)


def ended_from_outside(run: WorkflowExecution) -> bool:
    """Whether no code of it ran at its end."""
    return run.status in _FROM_OUTSIDE


async def reconciled(client: Client, run: WorkflowExecution) -> bool:
    """Whether `reconcile` has handed its tracking events to a delivery."""
    return await looked_at(client, f"tracking-delivery:reconcile:{run.run_id}") is not None


async def check_told(client: Client, run: WorkflowExecution, time: timedelta) -> None:
    """Check that a run that was ended from outside leaves no tracking event behind.

    Raises:
        JobsError: it does.
        NoWorker: none could say.
    """
    if not ended_from_outside(run) or await reconciled(client, run):
        return
    found = await looked_at(client, run.id, run.run_id)
    if found is None:
        return
    left = await _leftover(client, found, time)
    was_reset = bool(found.raw_description.workflow_extended_info.reset_run_id)
    if left.outbox.get("events") or (left.tracked and not left.told and not was_reset):
        raise JobsError(
            f"{run.id}: its run {run.run_id} was ended from outside, and its last tracking events "
            "were not sent; nothing was deleted. Run `durable-jobs reconcile`, then erase it again"
        )


async def _leftover(client: Client, run: WorkflowExecutionDescription, time: timedelta) -> Leftover:
    """What a run left untold; of one that never ran what the one before it handed on."""
    run_id: str | None = run.run_id
    while run_id is not None:
        handle = client.get_workflow_handle(run.id, run_id=run_id)
        asked = handle.query(OUTBOX_QUERY, result_type=RawValue, rpc_timeout=time)
        try:
            return model_from_raw(Leftover, await answered(asked, time))
        except Unanswered as error:
            raise NoWorker(
                f"{run.id}: it was ended from outside, and no worker said within "
                f"{time.total_seconds():g} s whether it has tracking events left; does one run for "
                f"the task queue {run.task_queue!r}? Nothing was deleted"
            ) from error
        except WorkflowQueryFailedError as error:
            raise JobsError(
                f"{run.id}: its worker cannot say whether it has tracking events left ({error}); "
                "nothing was deleted"
            ) from error
        except RPCError as error:
            if not (
                error.status == RPCStatusCode.FAILED_PRECONDITION and "closed" in error.message
            ):
                raise
            run_id = await _before(client, run.id, run_id)
    return Leftover(outbox={})


async def _before(client: Client, workflow_id: str, run_id: str) -> str | None:
    """The run that continued as new as this one."""
    history = client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(
        page_size=1
    )
    first = await anext(history)
    return first.workflow_execution_started_event_attributes.continued_execution_run_id or None
