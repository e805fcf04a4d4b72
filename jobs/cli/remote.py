"""One instance as an operator reaches it: by the wire alone, without its job class."""

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, cast

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from ..connection import connect
from ..definitions.base import NAME
from ..definitions.identity import MAX_INSTANCE_ID
from ..wire import JSON

FAILED, WRONG_INPUT, NOT_FOUND, NO_ANSWER = 1, 2, 3, 4
"""Exit codes: the server or the instance refused; wrong arguments; none is there (alive); no worker
answers."""

_VERBS = {
    "continuous": ("pause", "resume", "trigger", "reschedule", "terminate"),
    "debounce": ("pause", "resume", "flush", "clear", "terminate"),
    "task": ("pause", "resume", "trigger", "redrive", "terminate"),
}
_EXAMPLE = "continuous:poll:acct-1"
_NO_WORKER = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
_T = TypeVar("_T")


class Trouble(Exception):
    """What a command could not do, in words, with its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Unreadable(Trouble):
    """An answer that a payload codec encoded, of which commands have none."""

    def __init__(self, instance: str, error: KeyError) -> None:
        super().__init__(
            f"{instance} answered in an encoding that this command cannot read ({error.args[0]}); "
            "ask with a client that has the payload codec",
            FAILED,
        )


def instance_of(words: list[str]) -> str:
    """The ID that an operator gave: whole, or as job type, name and key.

    Raises:
        Trouble: it is none.
    """
    if len(words) not in (1, 3):
        raise Trouble(
            f"name one instance, by its ID ({_EXAMPLE}) or by job type, name and key "
            f"({_EXAMPLE.replace(':', ' ')}), not by {len(words)} words",
            WRONG_INPUT,
        )
    instance = ":".join(words)
    job_type, _, rest = instance.partition(":")
    name, _, key = rest.partition(":")
    if job_type not in _VERBS:
        known = ", ".join(_VERBS)
        raise Trouble(f"{instance!r} is no instance ID like {_EXAMPLE}: it begins with one of "
                      f"{known}", WRONG_INPUT)  # fmt: skip
    if not re.fullmatch(NAME, name) or not key or len(instance) > MAX_INSTANCE_ID:
        raise Trouble(
            f"{instance!r} is no instance ID like {_EXAMPLE}: job type, name and key, "
            f"at most {MAX_INSTANCE_ID} characters",
            WRONG_INPUT,
        )
    return instance


@dataclass(frozen=True)
class Remote:
    """An instance on the server."""

    id: str
    handle: WorkflowHandle[Any, Any]
    timeout: timedelta

    @classmethod
    async def reach(cls, instance: str, timeout: timedelta) -> "Remote":
        """Connect as TEMPORAL_* and Temporal's profile file say; raises `TemporalUnreachable`."""
        client = await connect(timeout=timeout)
        return cls(instance, client.get_workflow_handle(instance), timeout)

    async def ask(self, query: str) -> JSON:
        """The answer to a query; raises `Trouble`."""
        return await self._answer(self.handle.query(query, rpc_timeout=self.timeout))

    async def tell(self, verb: str, *arguments: JSON) -> None:
        """Send a control signal, which waits for a worker where there is none; raises `Trouble`."""
        self.check(verb)
        try:
            await self.handle.signal(verb, args=arguments, rpc_timeout=self.timeout)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                await self._explain_absence()
            raise Trouble(f"{self.id}: {error.message}", FAILED) from error

    async def update(self, verb: str, *arguments: JSON) -> JSON:
        """Have a verb done and get its answer; raises `Trouble`."""
        self.check(verb)
        # The SDK leaves a parameter of its overloads open.
        asked = self.handle.execute_update(  # pyright: ignore[reportUnknownMemberType]
            verb, args=arguments, rpc_timeout=self.timeout
        )
        return await self._answer(cast("Awaitable[JSON]", asked))

    def check(self, verb: str) -> None:
        """Raise `Trouble` where the job type knows no such verb."""
        job_type = self.id.partition(":")[0]
        if verb not in _VERBS[job_type]:
            known = ", ".join(_VERBS[job_type])
            raise Trouble(f"{job_type} jobs take no {verb}; they take {known}", WRONG_INPUT)

    async def describe(self) -> WorkflowExecutionDescription:
        """What the server itself knows; raises `Trouble` where it knows no such instance."""
        try:
            return await self.handle.describe(rpc_timeout=self.timeout)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise Trouble(f"there is no instance {self.id}, and never was one that the "
                              "server still knows", NOT_FOUND) from error  # fmt: skip
            raise Trouble(f"{self.id}: {error.message}", FAILED) from error

    async def progress(self) -> JSON:
        """What the attempt under way says of its progress, None where it says nothing."""
        found = await self.describe()
        for activity in found.raw_description.pending_activities:
            payloads = activity.heartbeat_details.payloads
            if payloads:
                mark = (await self._answer(found.data_converter.decode(payloads)))[0]
                if isinstance(mark, dict) and "progress" in mark:
                    return cast("dict[str, JSON]", mark)["progress"]
        return None

    async def _answer(self, asked: Awaitable[_T]) -> _T:
        try:
            return await asked
        except (WorkflowQueryFailedError, WorkflowUpdateFailedError) as error:
            cause = error.__cause__
            words = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
            raise Trouble(f"{self.id}: {words}", FAILED) from error
        except KeyError as error:
            # So the SDK says that it knows no such encoding.
            raise Unreadable(self.id, error) from error
        except TimeoutError as error:
            raise await self._silence() from error
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                await self._explain_absence()
            if error.status in _NO_WORKER or "no poller" in error.message:
                raise await self._silence() from error
            raise Trouble(f"{self.id}: {error.message}", FAILED) from error

    async def _explain_absence(self) -> NoReturn:
        found = await self.describe()
        ended = found.close_time
        when = f" at {ended:%Y-%m-%d %H:%M:%S} UTC" if ended is not None else ""
        word = found.status.name.lower().replace("_", " ") if found.status is not None else "over"
        if found.status == WorkflowExecutionStatus.COMPLETED:
            word = (await self.handle.result(rpc_timeout=self.timeout))["status"]
        raise Trouble(f"{self.id} is not alive: it ended{when} ({word})", NOT_FOUND)

    async def _silence(self) -> Trouble:
        found = await self.describe()
        return Trouble(
            f"{self.id} is there, but no worker answered within {self.timeout.total_seconds():g} s;"
            f" does one run for the task queue {found.task_queue!r}?",
            NO_ANSWER,
        )
