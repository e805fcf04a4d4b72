"""A worker: takes the tasks of its queue, from its start to an orderly end."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import Worker, WorkerDeploymentConfig

from durable_jobs.tracking import Tracking

from .arguments import check_is_text, check_kind, check_name, check_time
from .connection import connect, reachable, target_of
from .errors import TemporalUnreachable
from .health import Health, serving_health
from .loading import JobsSource, opened
from .plugin import JobsPlugin
from .settings import load_settings, tracking_from
from .signals import stop_on_signals
from .telemetry import serving_metrics
from .versions import deployment_of_worker

logger: logging.Logger = logging.getLogger(__name__)

DEFAULT_GRACE = timedelta(seconds=10)

# User code that takes no notice of its cancellation must not keep the process for ever.
_AFTER_GRACE = timedelta(seconds=5)
_CONNECT_TIMEOUT = timedelta(seconds=5)
_WATCH_EVERY = 5.0  # seconds
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0  # seconds


async def run_worker(
    jobs: JobsSource,
    *,
    client: Client | None = None,
    task_queue: str | None = None,
    tracking: Tracking | None = None,
    metrics: str | None = None,
    health: str | None = None,
    grace: timedelta = DEFAULT_GRACE,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the jobs until SIGTERM, SIGINT or `stop`.

    Then no new work is taken, running attempts get `grace`, and what is still running is
    cancelled. A second signal ends the process at once.

    `client` comes from Temporal's own environment variables and profile file, `task_queue`,
    `tracking`, `metrics` and `health` from DURABLE_JOBS_*, where not given. `metrics` is an address
    such as `127.0.0.1:9464`, at which Prometheus finds Temporal's metrics of the worker and those
    of the jobs; a `client` that is given has its own runtime, to whose metrics those of the jobs
    go. `health` is an address such as `127.0.0.1:8080`: GET `/livez` is answered while the event
    loop runs, GET `/readyz` with 200 only while the worker polls and does not stop, else with 503.
    While Temporal does not answer, the worker says so and tries again.
    TEMPORAL_DEPLOYMENT_NAME and TEMPORAL_WORKER_BUILD_ID make it a versioned worker, which gets
    work once its version is current or ramping.

    Raises LoadError, DefinitionError, InvalidArgument or InvalidSettings before any connection,
    and the SDK's RuntimeError where Temporal refuses the worker, for example for an unknown
    namespace.
    """
    check_kind(client, Client, "run_worker: client", "await Client.connect(address)")
    check_kind(tracking, Tracking, "run_worker: tracking", "Tracking(HttpSink(url))")
    check_kind(stop, asyncio.Event, "run_worker: stop", "asyncio.Event()")
    check_is_text(metrics, "run_worker: metrics")
    check_is_text(health, "run_worker: health")
    if task_queue is not None:
        check_name(task_queue, "run_worker: task_queue")
    if grace != timedelta():
        check_time(grace, "run_worker: grace")
    settings = load_settings()
    deployment = deployment_of_worker()
    stop = stop or asyncio.Event()
    async with opened(jobs) as opened_jobs:
        plugin = JobsPlugin(opened_jobs, tracking or tracking_from(settings))
        names = ", ".join(job.name for job in opened_jobs)
        runtime = _runtime(metrics or settings.metrics, client)
        queue = task_queue or settings.task_queue
        shift = _Shift(plugin, names, queue, grace, stop, runtime, deployment)
        with stop_on_signals(stop):
            async with _serving(health or settings.health, shift.health):
                await shift.work(client)


@asynccontextmanager
async def _serving(address: str | None, health: Health) -> AsyncGenerator[None]:
    if address is None:
        yield
        return
    async with serving_health(address, health):
        logger.info("Health is served at http://%s/livez and /readyz", address)
        yield


def _runtime(metrics: str | None, client: Client | None) -> Runtime | None:
    if metrics is None:
        return None
    if client is not None:
        logger.warning("Metrics go where the given client's runtime says, not to %s", metrics)
        return None
    runtime = serving_metrics(metrics)
    logger.info("Metrics are served at http://%s/metrics", metrics)
    return runtime


@dataclass
class _Shift:
    """The life of one worker, over as many connections as it takes."""

    plugin: JobsPlugin
    names: str
    task_queue: str
    grace: timedelta
    stop: asyncio.Event
    runtime: Runtime | None
    deployment: WorkerDeploymentConfig | None
    health: Health = field(default_factory=Health)

    async def work(self, given: Client | None) -> None:
        failures = 0
        while not self.stop.is_set():
            try:
                if client := given or await self._connect():
                    await self._serve(client)
            except TemporalUnreachable as error:
                wait = min(_FIRST_WAIT * 2**failures, _LONGEST_WAIT) * random.uniform(0.8, 1.2)
                failures += 1
                logger.warning("%s Next try in %.1f s.", error, wait)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), wait)

    async def _connect(self) -> Client | None:
        connecting = asyncio.create_task(connect(runtime=self.runtime, timeout=_CONNECT_TIMEOUT))
        try:
            await self._done_or_stopped(connecting)
            return connecting.result() if connecting.done() else None
        finally:
            connecting.cancel()

    async def _serve(self, client: Client) -> None:
        """Work on one connection. Once started, the SDK itself bridges outages of any length."""
        worker = Worker(
            client,
            task_queue=self.task_queue,
            plugins=[self.plugin],
            graceful_shutdown_timeout=self.grace,
            deployment_config=self.deployment,
        )
        running = asyncio.create_task(worker.run())
        watching = asyncio.create_task(self._watch(client))
        target = target_of(client)
        logger.info("Working on task queue %s at %s: %s", self.task_queue, target, self.names)
        if (deployment := self.deployment) is not None:
            logger.info(
                "Version %s of deployment %s: it gets work once it is current or ramping",
                deployment.version.build_id,
                deployment.version.deployment_name,
            )
        try:
            await self._done_or_stopped(running)
        finally:
            watching.cancel()
            self.health.answers = False
            if not running.done():
                await self._drain(worker, running)
        if running.done() and not running.cancelled() and (error := running.exception()):
            if not isinstance(error, Exception) or await reachable(client):
                raise error
            raise TemporalUnreachable(f"Temporal does not answer at {target} ({error}).") from error

    async def _drain(self, worker: Worker, running: asyncio.Task[None]) -> None:
        self.health.stopping = True
        logger.info("Stopping: running attempts get %g s", self.grace.total_seconds())
        closing = asyncio.create_task(worker.shutdown())
        await asyncio.wait({running}, timeout=(self.grace + _AFTER_GRACE).total_seconds())
        closing.cancel()
        if not running.done():
            logger.warning("Left behind: attempts that do not end when they are cancelled")
            running.cancel()
            await self.plugin.leave_behind()

    async def _done_or_stopped(self, task: asyncio.Task[Any]) -> None:
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _watch(self, client: Client) -> None:
        """Say when Temporal stops answering, and when it answers again."""
        answered, pause = True, _FIRST_WAIT
        while True:
            answers = await self.health.ask(client, self.task_queue)
            if answered and not answers:
                logger.warning("Temporal does not answer at %s; trying again", target_of(client))
            elif answers and not answered:
                logger.info("Temporal answers again at %s", target_of(client))
            answered = answers
            await asyncio.sleep(pause)
            # At the start more often: others wait for this worker to be ready.
            pause = min(pause * 2, _WATCH_EVERY)
