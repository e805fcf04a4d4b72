"""The names by which clients, workflows and activities find each other, recorded in history."""

DESCRIBE = "durable_jobs.describe"
FIND_JOB = "durable_jobs.find_job"
JUDGE = "durable_jobs.judge"
FOLD = "durable_jobs.fold"
NEXT_DUE = "durable_jobs.next_due"
DELIVER = "flush_events"
DELIVERY_WORKFLOW = "TrackingDelivery"
DELIVER_SIGNAL = "deliver"
OUTBOX_QUERY = "durable_jobs.outbox"
RECONCILE = "reconcile_tracking"
RECONCILE_WORKFLOW = "TrackingReconcile"
JOB_PAUSE_WORKFLOW = "JobPause"

JOB_STATUS = "JobStatus"
"""The search attribute that says whether an instance is paused or fails."""

STATUS_OK, STATUS_PAUSED, STATUS_FAILING = "ok", "paused", "failing"
"""Its words."""

SIMULATED = "simulation.invalid:7233"
"""The address of a simulation's client. Nothing is ever sent there."""

BUSY = "Busy"
"""The error type with which an instance refuses an update that it has no room for."""

ASK_AGAIN = "durable_jobs.AskAgain"
ASK_AGAIN_MARK = "#again-"
"""Ends the event id in the id of a repeated `ask` update."""

NOT_REGISTERED = "NotFoundError"
"""The error type with which the SDK refuses an activity that its worker does not have."""

FAILED_ERROR = "durable_jobs.Failed"
"""Marks the error of an attempt that says itself what it means."""
