"""Lets the last tracking events of an instance leave within the workflow task in which it ends.

A local activity there would cost as much as a tenth of a small window: it wakes the workflow a
second time, and stands in history. Other SDKs have side effects for that: short code in a workflow
task that may run again if the task does, as these deliveries may.

What a side effect gives stands in history too. Here it need not where all were delivered, as is the
rule: a replay takes that for granted. Where they were not, a patch marker says so. Replays know it
as soon as the task that it was made in begins.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from temporalio import workflow
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    PatchActivationInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from .base import JobWorkflow
from .flush import STAYED, Leave

Activation: TypeAlias = Callable[[PatchActivationInput], bool]


def always_marking(chosen: Activation | None) -> Activation | None:
    """A worker's choice of patches that leaves our marks alone: they are no change of code."""
    if chosen is None:
        return None
    return lambda patch: patch.patch_id.startswith(STAYED) or chosen(patch)


class LeavingInterceptor(Interceptor):
    """Gives instances their worker's way to deliver events."""

    def __init__(self, leave: Leave) -> None:
        self._leave = leave

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        leave = self._leave

        class Inbound(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
                instance = workflow.instance()
                if isinstance(instance, JobWorkflow):
                    instance.flusher.leave = leave
                return await super().execute_workflow(input)

        return Inbound
