"""Looks, as often as a Temporal schedule says, for instances that were ended from outside."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy

from durable_jobs.names import RECONCILE, RECONCILE_WORKFLOW


@workflow.defn(name=RECONCILE_WORKFLOW, sandboxed=False)
class TrackingReconcile:
    """One look; its result says what was found."""

    @workflow.run
    async def run(self, request: RawValue) -> RawValue:
        """Let one activity look."""
        found: Any = await workflow.execute_activity(
            RECONCILE,
            request,
            result_type=RawValue,
            start_to_close_timeout=timedelta(minutes=30),
            heartbeat_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(maximum_attempts=5),
            summary="instances that were ended from outside",
        )
        return RawValue(found.payload)
