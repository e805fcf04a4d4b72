"""Delivers webhooks: in order for each receiver, five at a time, tried again until they arrive."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
from pydantic import BaseModel, JsonValue

from durable_jobs import NonRetryable, Retry, RetryAfter, RunFailure, WorkerPoolJob, WorkerPoolRun

logger: logging.Logger = logging.getLogger(__name__)


class Webhook(BaseModel):
    """One message to one receiver."""

    url: str
    body: JsonValue


class Deliver(WorkerPoolJob[Webhook]):
    name = "deliver"
    concurrency = 5
    timeout = timedelta(seconds=30)
    retry = Retry(max_attempts=4, initial=timedelta(seconds=1), maximum=timedelta(minutes=1))

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def execute(self, run: WorkerPoolRun[Webhook]) -> None:
        # The receiver drops a repetition by this header: all attempts of a run have the same.
        headers = {"webhook-id": run.idempotency_key}
        answer = await self._http.post(run.event.url, json=run.event.body, headers=headers)
        if answer.status_code == 429:
            raise RetryAfter(timedelta(seconds=int(answer.headers.get("retry-after", "1"))))
        if answer.is_client_error:
            raise NonRetryable(f"{run.event.url} refuses it: {answer.status_code}")
        answer.raise_for_status()
        logger.info("Instance %s delivered %s", run.index, run.event.body)

    async def on_dead_letter(self, run: WorkerPoolRun[Webhook], error: RunFailure) -> None:
        logger.warning("Gave up on %s: %s", run.event.body, error.message)


@asynccontextmanager
async def jobs() -> AsyncGenerator[list[Deliver]]:
    """The jobs of a worker, with the connections that they need."""
    async with httpx.AsyncClient() as http:
        yield [Deliver(http)]
