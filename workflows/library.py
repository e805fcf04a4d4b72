"""Calls the library's own small activities."""

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import FailureError

from durable_jobs.protocol import Verdicts
from durable_jobs.wire import model_from_raw, to_raw

_Answer = TypeVar("_Answer", bound=BaseModel)

_ONCE = RetryPolicy(maximum_attempts=1)
_FOR_EVER = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2)
)


async def call_local(name: str, request: BaseModel, answer: type[_Answer]) -> _Answer | None:
    """One local attempt, in the worker at hand; None where it failed there.

    One at a time: on replay, results of local activities come in the order of their start,
    whichever ended first (SDK 1.35).
    """
    try:
        async with _turn():
            raw: Any = await workflow.execute_local_activity(
                name,
                to_raw(request),
                result_type=RawValue,
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=_ONCE,
            )
    except FailureError as error:
        # A failed local activity raises its failure, one that was cancelled an ActivityError.
        if _cancelled():
            raise asyncio.CancelledError from error
        workflow.logger.warning("%s failed in the worker at hand: %s", name, error)
        return None
    return model_from_raw(answer, raw)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _turn() -> asyncio.Lock:
    """The lock that the workflow at hand keeps for its local activities."""
    return workflow.instance().local_turn


async def call_anywhere(
    name: str, request: BaseModel, answer: type[_Answer], summary: str
) -> _Answer:
    """Tried again, on any worker of the queue, until one answers."""
    raw: Any = await workflow.execute_activity(
        name,
        to_raw(request),
        result_type=RawValue,
        start_to_close_timeout=timedelta(minutes=1),
        retry_policy=_FOR_EVER,
        summary=summary,
    )
    return model_from_raw(answer, raw)


async def call(name: str, request: BaseModel, answer: type[_Answer], summary: str) -> _Answer:
    """Locally where that works, else on any worker of the queue that can."""
    found = await call_local(name, request, answer)
    return found if found is not None else await call_anywhere(name, request, answer, summary)


def start_delivery(name: str, request: BaseModel) -> workflow.ActivityHandle[Any]:
    """A delivery of tracking events that goes on until all are settled, however long."""
    return workflow.start_activity(
        name,
        to_raw(request),
        result_type=RawValue,
        # It makes no heartbeats: so soon a killed worker is noticed.
        start_to_close_timeout=timedelta(seconds=20),
        # Each failing attempt names its own wait; this is for attempts that were lost.
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), backoff_coefficient=1.0),
        summary="deliver tracking events",
    )


def verdicts_of(raw: Any) -> Verdicts:
    """The verdicts that a delivery returned."""
    return model_from_raw(Verdicts, raw)
