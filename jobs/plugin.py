"""One Temporal plugin that makes any worker run jobs."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from temporalio import activity
from temporalio.common import MetricMeter, VersioningBehavior
from temporalio.plugin import SimplePlugin
from temporalio.runtime import Runtime
from temporalio.worker import Worker, WorkerConfig

from durable_jobs.activities.deliver import DeliverActivities
from durable_jobs.activities.handlers import Running, handler_activities
from durable_jobs.activities.interceptor import TrackingInterceptor
from durable_jobs.activities.library import LibraryActivities
from durable_jobs.activities.reconcile import ReconcileActivities
from durable_jobs.tracking import Tracking
from durable_jobs.tracking.courier import Courier
from durable_jobs.tracking.metrics import Metrics
from durable_jobs.workflows.answers import AnswersInterceptor
from durable_jobs.workflows.delivery import TrackingDelivery
from durable_jobs.workflows.job_pause import JobPauseWorkflow
from durable_jobs.workflows.reconcile import TrackingReconcile
from durable_jobs.workflows.routing import RoutingInterceptor
from durable_jobs.workflows.sdk_workarounds import NewsRunner
from durable_jobs.workflows.workflow import JobWorkflow

from .arguments import check_kind
from .client import JobClient
from .definitions import Job
from .keys import keep_keys
from .kinds import KINDS
from .protocol import RunRequest, TrackingIdentity
from .registry import Registry

# Progress shows, and a cancelled attempt hears of it, with a heartbeat that the SDK lets through.
_HEARTBEATS_EVERY = timedelta(seconds=1)
_MEASURE_EVERY = 1.0  # seconds
_HEARS_WITHIN = 0.1  # seconds

WORKFLOWS = (
    *(kind.load(kind.workflow_class) for kind in KINDS.values()),
    TrackingDelivery,
    TrackingReconcile,
    JobPauseWorkflow,
)


class JobsPlugin(SimplePlugin):
    """Runs jobs in the user's own Temporal `Client` or `Worker`.

    `tracking` says where tracking events go; without it tracking is off.

    Raises:
        DefinitionError: a job's definition is wrong.
    """

    def __init__(self, jobs: Sequence[Job], tracking: Tracking | None = None) -> None:
        check_kind(tracking, Tracking, "JobsPlugin: tracking", "Tracking(HttpSink(url))")
        enabled = tracking if tracking is not None and tracking.enabled else None
        self._registry = Registry(jobs, _identity(enabled))
        self._courier = Courier(enabled) if enabled is not None else None
        self._tracking = enabled
        self._metrics = Metrics()
        self._running: Running = set()
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            "durable-jobs",
            workflows=WORKFLOWS,
            activities=[
                *handler_activities(self._registry, _jobs_of_run, self._running),
                *LibraryActivities(self._registry).all(),
                *DeliverActivities(self._registry, enabled, self._courier).all(),
                *ReconcileActivities(_identity(enabled)).all(),
            ],
            interceptors=[
                TrackingInterceptor(enabled, self._metrics),
                AnswersInterceptor(self._registry, self._trouble),
                RoutingInterceptor(self._registry),
            ],
        )

    def _trouble(self) -> str | None:
        trouble = self._courier.trouble if self._courier is not None else None
        return trouble.message if trouble is not None else None

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add jobs to a worker; on a versioned one, instances move to new versions by themselves.

        A versioned worker refuses workflows that declare no behaviour, an unversioned one those
        that do; instances live too long to be pinned unless the worker's user says so.
        """
        deployment = config.get("deployment_config")  # pyright: ignore[reportUnknownMemberType]
        if deployment is not None and deployment.use_worker_versioning:
            unsaid = deployment.default_versioning_behavior is VersioningBehavior.UNSPECIFIED
            if unsaid:
                config["deployment_config"] = dataclasses.replace(
                    deployment, default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE
                )
        held = config.get(  # pyright: ignore[reportUnknownMemberType]
            "max_heartbeat_throttle_interval", _HEARTBEATS_EVERY
        )
        config["max_heartbeat_throttle_interval"] = min(held, _HEARTBEATS_EVERY)
        config["unsandboxed_workflow_runner"] = NewsRunner(
            JobWorkflow,
            config.get("unsandboxed_workflow_runner"),  # pyright: ignore[reportUnknownMemberType]
        )
        return super().configure_worker(config)

    async def run_worker(
        self,
        worker: Worker,
        next: Callable[[Worker], Awaitable[None]],  # noqa: A002
    ) -> None:
        """Start the instances that jobs name, run the worker, then send the last events."""
        self._metrics.use(_meter(worker))
        NewsRunner.serve(worker)
        tasks = [
            asyncio.create_task(keep_keys(worker, self._registry)),
            asyncio.create_task(self._measure()),
        ]
        try:
            await super().run_worker(worker, next)
        finally:
            for task in tasks:
                task.cancel()
            if self._courier is not None:
                await self._courier.close()
            self._publish()

    async def leave_behind(self) -> None:
        """Take handlers that ignore their cancellation off the event loop's list of tasks.

        `asyncio.run` waits for all that are on it, and would never end.
        """
        if not (running := set(self._running)):
            return
        for task in running:
            task.cancel()
        _, deaf = await asyncio.wait(running, timeout=_HEARS_WITHIN)
        for task in deaf:
            asyncio._unregister_task(task)  # pyright: ignore[reportPrivateUsage] # documented

    async def _measure(self) -> None:
        while True:
            self._publish()
            await asyncio.sleep(_MEASURE_EVERY)

    def _publish(self) -> None:
        if self._courier is not None and self._tracking is not None:
            self._metrics.publish(self._courier.sample(), self._tracking.withheld)


def _meter(worker: Worker) -> MetricMeter:
    """Where Temporal's own metrics of this worker go, labelled as these are."""
    runtime = worker.client.service_client.config.runtime or Runtime.default()
    labels = {"namespace": worker.client.namespace, "task_queue": worker.task_queue}
    return runtime.metric_meter.with_additional_attributes(labels)


def _identity(tracking: Tracking | None) -> TrackingIdentity | None:
    return tracking.identity if tracking is not None else None


def _jobs_of_run(request: RunRequest) -> JobClient:
    info = activity.info()
    return JobClient(activity.client(), task_queue=info.task_queue, once=request.idempotency_key)
