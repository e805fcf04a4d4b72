"""Leaves the handlers that a worker does not have to workers that have them."""

from typing import Any

from temporalio import workflow
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from durable_jobs.registry import Registry

from .workflow import JobWorkflow


class RoutingInterceptor(Interceptor):
    """Knows the handlers that its worker has.

    A worker takes the activities of its own workflow tasks eagerly, past the queue: one that keeps
    an instance in its cache, but does not have the handler, would take it each time it is tried.
    """

    def __init__(self, registry: Registry) -> None:
        self._handlers = frozenset(
            f"{job.name}.{handler}"
            for job in registry
            for handler in job.handlers
            if type(job).has(handler)
        )

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        handlers = self._handlers

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(_Outbound(outbound, handlers))

        return Inbound


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(
        self,
        next: WorkflowOutboundInterceptor,  # noqa: A002
        handlers: frozenset[str],
    ) -> None:
        super().__init__(next)
        self._handlers = handlers

    def start_activity(
        self,
        input: StartActivityInput,  # noqa: A002
    ) -> workflow.ActivityHandle[Any]:
        """See base class. How an activity reaches a worker is no part of history."""
        if isinstance(workflow.instance(), JobWorkflow) and input.activity not in self._handlers:
            input.disable_eager_execution = True
        return super().start_activity(input)
