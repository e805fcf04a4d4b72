"""What the server alone knows of a workflow: whether it is one of ours, and how it ended."""

from temporalio.client import (
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)

from ..kinds import KINDS
from ..status import StatusWord
from ..wire import JSON

_ENDED: dict[WorkflowExecutionStatus | None, StatusWord] = {
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.CANCELED: "terminated",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.COMPLETED: "completed",
}


def ended_word(found: WorkflowExecution) -> StatusWord | None:
    """How it ended; None where it lives."""
    return _ENDED.get(found.status)


def foreign_text(instance_id: str, found: WorkflowExecutionDescription) -> str | None:
    """Says so where a workflow under an instance's ID is none of its job type's."""
    expected = KINDS[instance_id.partition(":")[0]].workflow
    if found.workflow_type == expected:
        return None
    state = ended_word(found) or "runs"
    return (
        f"{instance_id} is no instance: the workflow under that ID has the type "
        f"{found.workflow_type!r}, not {expected!r} ({state}, task queue {found.task_queue!r})"
    )


def status_of_server(
    instance_id: str,
    found: WorkflowExecutionDescription,
    word: StatusWord,
    last_error: str | None = None,
) -> dict[str, JSON]:
    """The status of a workflow that ended and cannot speak for itself."""
    job_type, job_name, key = instance_id.split(":", 2)
    return {
        "jobType": job_type,
        "jobName": job_name,
        "key": key,
        "instanceId": instance_id,
        "status": word,
        "runCount": 0,
        "attempt": 0,
        "eventCount": 0,
        "nextRunAt": None,
        "willFlushAt": None,
        "startedAt": found.start_time.isoformat(),
        "lastError": last_error,
        "rejectedEvents": 0,
        "tracking": {"pending": 0, "delivered": 0, "rejected": 0, "dropped": 0},
    }
