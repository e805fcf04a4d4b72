"""Answers the queries `status` and `state`: judges and folds what waits, without effect.

The workflows run no user code. This interceptor does, in the worker that answers a query, where
nothing of it can enter the history.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.worker import (
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from durable_jobs.definitions import DebounceJob, Job
from durable_jobs.definitions.codec import codec_of
from durable_jobs.definitions.debounce import as_debounce
from durable_jobs.definitions.state import Stateful
from durable_jobs.protocol import Detail
from durable_jobs.questions import Folded
from durable_jobs.registry import Registry
from durable_jobs.wire import JSON, to_raw

from .delivery import TrackingDelivery
from .machines.life import KEPT_REJECTIONS
from .machines.machine import Machine
from .workflow import JobWorkflow

_JUDGED = 2_000
"""Of so many waiting events a status tells which will be rejected; more would take long."""


class AnswersInterceptor(Interceptor):
    """Gives each worker's queries its own definitions, and what keeps its events from leaving.

    `trouble` tells the latter, which no workflow knows while a delivery is tried again.
    """

    def __init__(self, registry: Registry, trouble: Callable[[], str | None]) -> None:
        self._registry = registry
        self._trouble = trouble

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        registry, tell = self._registry, self._trouble

        class Answers(_Answers):
            known = registry
            trouble = staticmethod(tell)

        return Answers


class _Answers(WorkflowInboundInterceptor):
    known: Registry
    trouble: Callable[[], str | None]

    async def handle_query(self, input: HandleQueryInput) -> Any:  # noqa: A002
        """Complete the answers of our own workflows."""
        if input.query not in ("status", "state"):
            return await super().handle_query(input)
        instance = workflow.instance()
        if isinstance(instance, TrackingDelivery):
            return to_raw(self._with_trouble(instance.known))
        if not isinstance(instance, JobWorkflow):
            return await super().handle_query(input)
        machine = instance.driver.machine
        job = self.known.find(instance.job_type, machine.ref.job)
        if input.query == "status":
            status = status_of(machine, job, workflow.now())
            return to_raw({**status, "tracking": self._with_trouble(status["tracking"])})
        return to_raw(state_of(machine, job))

    def _with_trouble(self, tracking: Detail) -> Detail:
        trouble = self.trouble() if tracking["pending"] else None
        return tracking if trouble is None else {**tracking, "lastError": trouble}


def status_of(machine: Machine, job: Job | None, now: datetime) -> Detail:
    """The answer to `status`; it tells of waiting events that do not fit as well."""
    status = machine.status()
    answer = machine.state_answer()
    if job is None or not 0 < len(answer["events"]) <= _JUDGED:
        return status
    reasons = _reasons(job, answer)
    at = now.isoformat()
    shown = [*status["rejections"], *({"at": at, "reason": reason} for reason in reasons)]
    return {
        **status,
        "eventCount": status["eventCount"] - len(reasons),
        "rejectedEvents": status["rejectedEvents"] + len(reasons),
        "rejections": shown[-KEPT_REJECTIONS:],
    }


def _reasons(job: Job, answer: Detail) -> list[str]:
    debounce = as_debounce(job)
    if debounce is None:
        return []
    try:
        return [item.reason for item in _folded(debounce, answer).rejected]
    except BaseException:  # the user's code may raise anything; what is known is in the status
        return []


def _folded(job: DebounceJob[Any, Any], answer: Detail) -> Folded:
    return job.fold(answer["events"], answer["state"], answer["has_state"], answer["state_version"])


def state_of(machine: Machine, job: Job | None) -> JSON:
    """The answer to `state`, with the waiting events of a debounce folded into it."""
    answer = machine.state_answer()
    if job is None:
        return answer["state"]
    debounce = as_debounce(job)
    if debounce is not None:
        return _folded(debounce, answer).state
    if not answer["has_state"] and isinstance(job, Stateful):
        return codec_of(type(job)).show_state(job.initial_state(machine.ref.key), "")
    return answer["state"]
