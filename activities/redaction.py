"""An attempt's event as `before_send` gets it, before the event has its place in the sequence."""

from datetime import datetime

from durable_jobs.protocol import Detail, RunRequest
from durable_jobs.tracking.config import Tracking
from durable_jobs.tracking.ids import iso_ms


def redacted(
    tracking: Tracking | None,
    request: RunRequest,
    *,
    kind: str,
    event_id: str,
    at: datetime,
    execution_id: str,
    fields: Detail,
) -> Detail:
    """The event's own fields, as they may be stored; some may be missing.

    Only the instance knows the sequence, and the execution where it has continued as new: until
    then an event is whole for the user's code with the number 1.
    """
    if tracking is None or tracking.before_send is None:
        return fields
    event = {
        "eventId": event_id,
        "timestamp": iso_ms(at),
        "source": "job",
        "instanceId": request.instance_id,
        "id": request.key,
        "jobType": request.job_type,
        "jobName": request.job,
        "env": tracking.env,
        "serviceKey": tracking.service_key,
        "type": kind,
        "executionId": execution_id,
        "sequence": 1,
        "runCount": request.run_count,
        **fields,
    }
    shown = tracking.redact(event)
    return {name: shown[name] for name in fields if name in shown}
