"""The instances that jobs name by their `keys`: started with a worker, and again where lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, cast

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from .client import JobClient
from .connection import target_of
from .definitions import ContinuousJob, WorkerPoolJob
from .errors import JobsError
from .registry import Registry

logger: logging.Logger = logging.getLogger(__name__)

_LOOK_EVERY = 10.0  # seconds
_PATIENCE = timedelta(seconds=5)
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds


async def keep_keys(worker: Worker, registry: Registry) -> None:
    """Start what jobs name, and again each time the server has come back without its data.

    Then its namespace is a new one, with another ID. This ends only by cancellation.
    """
    namespace = _Namespace(worker.client)
    while True:
        await _start_all(JobClient(worker.client, task_queue=worker.task_queue), registry)
        await namespace.replaced()


class _Namespace:
    """The namespace of a client, by the ID that the server gave it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._id: str | None = None
        self._missed = False

    async def replaced(self) -> None:
        """Wait until another one has its name, and say so."""
        known = self._id = self._id or await self._look()
        while known in (None, self._id):
            await asyncio.sleep(_LOOK_EVERY)
            self._id = await self._look() or self._id
            known = known or self._id
        logger.warning(
            "The namespace %r at %s is a new one: the server came back without its data, and what "
            "was waiting or scheduled there is gone. Starting the keys of all jobs again.",
            self._client.namespace,
            target_of(self._client),
        )

    async def _look(self) -> str | None:
        """Its ID; None where the server gives none, or does not answer."""
        request = DescribeNamespaceRequest(namespace=self._client.namespace)
        try:
            answer = await self._client.workflow_service.describe_namespace(
                request, timeout=_PATIENCE
            )
        except RPCError as error:
            self._miss(error)
            return None
        self._missed = False
        return answer.namespace_info.id or None

    def _miss(self, error: RPCError) -> None:
        if error.status == RPCStatusCode.NOT_FOUND and not self._missed:
            self._missed = True
            logger.warning(
                "There is no namespace %r at %s any more; waiting for it",
                self._client.namespace,
                target_of(self._client),
            )


async def _start_all(client: JobClient, registry: Registry) -> None:
    for job in registry:
        if isinstance(job, ContinuousJob):
            kind = type(cast("ContinuousJob[Any]", job))
            for key in kind.keys:
                await _insist(partial(_start, client, kind, key), f"start {kind.name} for {key!r}")
        elif isinstance(job, WorkerPoolJob):
            pool = client.worker_pool(type(cast("WorkerPoolJob[Any]", job)))
            await _insist(pool.drain_beyond, f"drain what the pool {job.name} has left behind")


async def _start(client: JobClient, job: type[ContinuousJob[Any]], key: str) -> None:
    handle = client.continuous(job, key)
    if not await handle.came_to_its_end():
        await handle.start()


async def _insist(call: Callable[[], Awaitable[None]], what: str) -> None:
    """Do something until it succeeds."""
    wait = _FIRST_WAIT
    while True:
        try:
            await call()
        except (RPCError, JobsError) as error:
            logger.warning("Could not %s, trying again: %s", what, error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
        else:
            return
