"""Asks workers what only they know: definitions, events that fit, due times."""

from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

from durable_jobs.names import FOLD
from durable_jobs.wire import model_from_raw, to_raw

from .machines.steps import Call

_Answer = TypeVar("_Answer", bound=BaseModel)

_FOR_EVER = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2)
)

# What a worker took that stops at once is given to another only after this time.
_OURS = timedelta(seconds=10)
_USERS = timedelta(minutes=1)


def start(name: str, request: BaseModel, summary: str) -> workflow.ActivityHandle[Any]:
    """Start one of the library's small activities, tried again until a worker answers."""
    return workflow.start_activity(
        name,
        to_raw(request),
        result_type=RawValue,
        start_to_close_timeout=_USERS if name == FOLD else _OURS,
        retry_policy=_FOR_EVER,
        summary=summary,
    )


async def ask(name: str, request: BaseModel, answer: type[_Answer], summary: str) -> _Answer:
    """Ask, and wait for the answer."""
    raw: Any = await start(name, request, summary)
    return model_from_raw(answer, raw)


class Pending:
    """A machine's call that is under way."""

    def __init__(self, call: Call) -> None:
        self.name: str = call.name
        self._answer = call.answer
        self._handle = start(call.name, call.request, call.summary)

    def done(self) -> bool:
        """Whether there is an answer."""
        return self._handle.done()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._handle.cancel()

    def answer(self) -> BaseModel | str:
        """The answer, or why there is none."""
        try:
            return model_from_raw(self._answer, self._handle.result())
        except ActivityError as error:
            return str(error.cause or error)
        except ValueError as error:
            return f"the answer of {self.name} cannot be read: {error}"
