"""One instance as an operator reaches it: by the wire alone, without its job class."""

import os
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from ..connection import target_of
from ..definitions.base import NAME
from ..definitions.identity import checked_id
from ..embedded.existing import ui_of
from ..erasing.eraser import Eraser
from ..errors import InvalidKey, JobsError, NoWorker
from ..handles.connection import Connection
from ..handles.ended import ended_word
from ..handles.instance import Instance, UnreadableAnswer, is_missing
from ..handles.limits import TimeLimit
from ..kinds import KINDS, JobKind
from ..status import EraseReceipt
from ..wire import JSON
from .attempts import Attempt, last_attempts
from .reach import FAILED, NO_ANSWER, NOT_FOUND, WRONG_INPUT, Trouble, reach

_EXAMPLE = "continuous:poll:acct-1"
_T = TypeVar("_T")


class Unreadable(Trouble):
    """An answer that a payload codec encoded, of which commands have none."""


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
    if job_type not in KINDS:
        known = ", ".join(KINDS)
        raise Trouble(f"{instance!a} is no instance ID like {_EXAMPLE}: it begins with one of "
                      f"{known}", WRONG_INPUT)  # fmt: skip
    if not re.fullmatch(NAME, name) or not key:
        raise Trouble(
            f"{instance!a} is no instance ID like {_EXAMPLE}: job type, name and key", WRONG_INPUT
        )
    try:
        return checked_id(job_type, name, key)
    except InvalidKey as error:
        raise Trouble(str(error), WRONG_INPUT) from error


def checked_verb(kind: JobKind, verb: str) -> None:
    """Raise `Trouble` where a job type knows no such verb."""
    if verb not in kind.controls:
        known = ", ".join(kind.controls)
        raise Trouble(f"{kind.name} jobs take no {verb}; they take {known}", WRONG_INPUT)


class Remote:
    """An instance on the server."""

    def __init__(self, connection: Connection, instance: str, timeout: timedelta) -> None:
        self.id = instance
        self._kind = KINDS[instance.partition(":")[0]]
        self._connection = connection
        self._instance = Instance(connection, instance)
        self._timeout = timeout

    @classmethod
    async def reach(cls, instance: str, timeout: timedelta) -> "Remote":
        """Connect as TEMPORAL_* and Temporal's profile file say; raises `TemporalUnreachable`."""
        return cls(await reach(timeout), instance, timeout)

    async def link(self) -> str | None:
        """Where Temporal's UI shows it: that of DURABLE_JOBS_TEMPORAL_UI, or of a local server."""
        client = await self._connection.link.client()
        address = os.environ.get("DURABLE_JOBS_TEMPORAL_UI") or ui_of(target_of(client))
        if not address:
            return None
        return f"{address.rstrip('/')}/namespaces/{client.namespace}/workflows/{quote(self.id, '')}"

    async def attempts(self) -> list[Attempt]:
        """Its last attempts; none where history does not tell them to this command."""
        client = await self._connection.link.client()
        try:
            return await last_attempts(client, self.id, self._timeout)
        except (RPCError, ValueError):
            return []

    async def status(self) -> dict[str, JSON]:
        """What it does, or did at its end; raises `Trouble`."""
        answer = await self._done(lambda limit: self._instance.status(limit))
        return self._there(answer)

    async def state(self) -> JSON:
        """Its state; raises `Trouble`."""
        if not self._kind.has_state:
            raise Trouble(f"{self._kind.name} jobs have no state", WRONG_INPUT)
        # That it is there, or is no instance, the status tells.
        await self.status()
        return await self._done(lambda limit: self._instance.query("state", limit))

    async def tell(self, verb: str, *arguments: JSON) -> None:
        """Send a control signal, which waits for a worker where there is none; raises `Trouble`."""
        checked_verb(self._kind, verb)
        await self._done(lambda _: self._instance.signal(verb, arguments))

    async def update(self, verb: str, *arguments: JSON) -> Any:
        """Have a verb done and get its answer; raises `Trouble`."""
        checked_verb(self._kind, verb)
        return await self._done(lambda limit: self._instance.update(verb, arguments, limit))

    async def erase(self) -> EraseReceipt:
        """End it and delete what Temporal has of it; raises `Trouble`."""
        try:
            return await Eraser(self._connection, self._instance, self._timeout).erase()
        except NoWorker as error:
            raise Trouble(str(error), NO_ANSWER) from error
        except (JobsError, RPCError) as error:
            raise Trouble(str(error), FAILED) from error

    async def _done(self, call: Callable[[TimeLimit], Awaitable[_T]]) -> _T:
        """What a call gives; its errors as `Trouble`."""
        limit = TimeLimit(self._timeout)
        try:
            async with self._instance.within(limit):
                return await call(limit)
        except NoWorker as error:
            raise Trouble(str(error), NO_ANSWER) from error
        except UnreadableAnswer as error:
            raise Unreadable(str(error), FAILED) from error
        except JobsError as error:
            raise Trouble(str(error), FAILED) from error
        except WorkflowUpdateFailedError as error:
            words = getattr(error.cause, "message", str(error.cause))
            raise Trouble(f"{self.id}: {words}", FAILED) from error
        except RPCError as error:
            if is_missing(error):
                raise await self._absence() from error
            explained = await self._instance.explained(error)
            prefix = "" if isinstance(explained, JobsError) else f"{self.id}: "
            raise Trouble(f"{prefix}{explained}", FAILED) from error

    async def _absence(self) -> Trouble:
        found = self._there(await self._done(lambda limit: self._instance.look(limit)))
        ended = found.close_time
        when = f" at {ended:%Y-%m-%d %H:%M:%S} UTC" if ended is not None else ""
        word = ended_word(found) or "over"
        if word == "completed":
            workflow = await self._instance.workflow()
            word = (await workflow.result(rpc_timeout=self._timeout))["status"]
        return Trouble(f"{self.id} is not alive: it ended{when} ({word})", NOT_FOUND)

    def _there(self, found: _T | None) -> _T:
        if found is None:
            raise Trouble(
                f"there is no instance {self.id}, and never was one that the server still knows",
                NOT_FOUND,
            )
        return found
