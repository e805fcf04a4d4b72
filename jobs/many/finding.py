"""Finds instances: their names through Temporal's visibility, what they do from themselves."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError

from ..errors import JobsError, NoWorker
from ..handles.connection import Connection
from ..handles.ended import ended_word
from ..handles.instance import Instance, explained, is_missing
from ..handles.limits import TimeLimit
from ..handles.visible import has_job_status, words_of
from ..pauses import JobPause, paused_jobs
from ..wire import JSON
from .calls import Silences, results
from .selection import Selection, Words

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """An instance that visibility knows."""

    id: str
    started_at: datetime
    task_queue: str
    is_alive: bool
    words: Words = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What an instance said that it does."""

    found: Found
    status: dict[str, JSON] | None = None
    """None: it said nothing, or is gone."""

    problem: str | None = None
    """Why it said nothing."""

    silent: bool = False
    """Whether that is because no worker answered."""


class Finder:
    """Looks for instances and asks them."""

    def __init__(self, connection: Connection, timeout: timedelta) -> None:
        self._connection = connection
        self._timeout = timeout
        self._silences = Silences()
        self.by_status: bool = True
        """Whether visibility can tell who is paused or fails."""

    async def named(self, selection: Selection) -> list[Found]:
        """Those that may be meant, as far as visibility can tell; each once, by ID.

        Visibility lags behind by up to a second or so.

        Raises:
            JobsError: Temporal refuses, or cannot be reached.
        """
        return sorted(await self._listed(selection), key=lambda each: each.id)

    async def newest(self, selection: Selection, most: int) -> list[Found]:
        """Those that began last, as far as visibility can tell, the newest first.

        Raises:
            JobsError: Temporal refuses, or cannot be reached.
        """
        return await self._listed(selection, most)

    async def _listed(self, selection: Selection, most: int | None = None) -> list[Found]:
        client = await self._connection.link.client()
        found: dict[str, Found] = {}
        self.by_status = await has_job_status(client)
        query = selection.query(by_status=self.by_status)
        page = _PAGE if most is None else most
        try:
            async for run in client.list_workflows(query, limit=most, page_size=page):
                if run.id not in found and selection.has(run.id, run.workflow_type):
                    alive = ended_word(run) is None
                    words = words_of(run) if alive else None
                    found[run.id] = Found(run.id, run.start_time, run.task_queue, alive, words)
        except RPCError as error:
            raise explained(client, "the list of instances", error) from error
        return list(found.values())

    async def counts(self, selection: Selection) -> Counter[str] | None:
        """How many there are, by job type and name, or by type alone where no job is named.

        None where visibility alone cannot tell.

        Raises:
            JobsError: Temporal refuses, or cannot be reached.
        """
        if selection.asks or (selection.key_prefix and selection.job is None):
            return None
        client = await self._connection.link.client()
        parts = [replace(selection, types=(name,)) for name in selection.types]
        try:
            found = await asyncio.gather(*(client.count_workflows(each.query()) for each in parts))
        except RPCError as error:
            raise explained(client, "the count of instances", error) from error
        names = (name if selection.job is None else f"{name}:{selection.job}"
                 for name in selection.types)  # fmt: skip
        return +Counter({name: each.count for name, each in zip(names, found, strict=True)})

    async def paused_jobs(self) -> list[JobPause]:
        """The jobs that are paused as a whole.

        Raises:
            JobsError: Temporal refuses, or cannot be reached.
        """
        client = await self._connection.link.client()
        try:
            return await paused_jobs(client)
        except RPCError as error:
            raise explained(client, "the list of paused jobs", error) from error

    async def asked(self, found: Iterable[Found]) -> AsyncGenerator[Seen]:
        """What instances do, as their answers come."""
        async for seen in results(found, self._ask):
            yield seen

    async def meant(self, selection: Selection, found: Iterable[Found]) -> AsyncGenerator[Seen]:
        """Those of them that are meant by what they do, and those that did not say."""
        async for seen in self.asked(found):
            gone = seen.status is None and seen.problem is None
            if gone or (seen.status and not selection.takes(seen.status, datetime.now(UTC))):
                continue
            yield seen

    async def _ask(self, found: Found) -> Seen:
        queue = found.task_queue
        if self._silences.hopeless(queue):
            return Seen(
                found, problem=f"no worker answers for the task queue {queue!r}", silent=True
            )
        instance, limit = Instance(self._connection, found.id), TimeLimit(self._timeout)
        try:
            async with instance.within(limit):
                # One that is alive is an instance and has a status: visibility said so.
                ask = instance.query("status", limit) if found.is_alive else instance.status(limit)
                status = await ask
        except NoWorker as error:
            self._silences.note(queue, answered=False)
            return Seen(found, problem=str(error), silent=True)
        except JobsError as error:
            return Seen(found, problem=str(error))
        except RPCError as error:
            problem = None if is_missing(error) else str(await instance.explained(error))
            return Seen(found, problem=problem)
        self._silences.note(queue, answered=True)
        return Seen(found, status)
