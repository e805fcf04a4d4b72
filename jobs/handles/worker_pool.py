"""The handle of a worker pool: all of its instances, and which one an event goes to."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from itertools import count
from typing import Any, Generic, TypeVar
from zlib import crc32

from temporalio.service import RPCError, RPCStatusCode

from ..arguments import check_event_id, check_partition_key, check_time, check_whole, many
from ..definitions import WorkerPoolJob
from ..definitions.worker_pool import MAX_CONCURRENCY
from ..errors import InvalidArgument
from ..kinds import KINDS
from ..status import EraseReceipt, JobStatus, WorkerPoolStatus
from ..tracing import sending
from ..values import MAX_PRIORITY
from .base import Handle
from .batch import Item, mark
from .connection import Connection
from .limits import ANSWER_TIME, ERASE_TIME, TimeLimit

Event = TypeVar("Event")
Answer = TypeVar("Answer")

_AT_ONCE = 32
"""Requests of one call that concerns all instances."""

_KIND = KINDS["workerPool"]


def index_of(partition_key: str, concurrency: int) -> int:
    """The instance that a partition key's events go to; every client computes the same."""
    return crc32(partition_key.encode()) % concurrency


class WorkerPoolHandle(Generic[Event]):
    """Queues events for a pool and controls its instances.

    What controls it concerns all instances, those that a smaller `concurrency` left behind
    included, or the one of an `index`.
    """

    def __init__(self, connection: Connection, job: type[WorkerPoolJob[Event]]) -> None:
        job.check_concurrency()
        self.concurrency: int = job.concurrency
        self.job_name: str = job.name
        self._connection = connection
        self._job = job
        self._members: dict[int, _Member] = {}

    # -- events -------------------------------------------------------------------------------

    async def enqueue(
        self,
        event: Event,
        partition_key: str | None = None,
        id: str | None = None,  # noqa: A002
        priority: int = 0,
    ) -> None:
        """Queue an event; returns once it is durable in Temporal.

        Events of one partition key go to one instance, which handles them in order. Without a key,
        one with an `id` goes by its id, so that a repetition meets it, and others go to each
        instance in turn. An event whose `id` its instance saw among its last 500 is dropped. Of
        those that wait in an instance, the one with the highest priority goes first.

        Raises:
            InvalidEvent: it does not fit the event type; nothing was sent.
            InvalidKey: the partition key is none.
            InvalidArgument: the priority is no whole number up to 1,000,000, either side of 0.
            PayloadTooLarge: it has over 256 KB.
            Busy: the instance takes no more at the moment.
        """
        member, item = self._place(event, partition_key, id, priority)
        with sending("enqueue", self.job_name, member.instance_id, [item.id]) as traceparent:
            mark([item], traceparent)
            await member.enqueue([item])

    async def enqueue_many(
        self,
        events: Iterable[Event],
        partition_key: str | None = None,
        ids: Iterable[str | None] | None = None,
        priority: int = 0,
    ) -> None:
        """Queue many events, in order; returns once all are durable. `ids` are theirs, one each.

        Raises as `enqueue`. Nothing is sent before every event was found to fit; after `Busy` some
        of them may be durable, so that queueing them again needs `ids`.
        """
        given = many(events, f"{self.job_name}: the events")
        named = [None] * len(given) if ids is None else many(ids, f"{self.job_name}: the ids")
        if len(named) != len(given):
            raise InvalidArgument(f"{self.job_name}: {len(given)} events, but {len(named)} ids")
        shares: dict[_Member, list[Item]] = {}
        for event, event_id in zip(given, named, strict=True):
            member, item = self._place(event, partition_key, event_id, priority)
            shares.setdefault(member, []).append(item)
        with sending("enqueue", self.job_name, None, named) as traceparent:
            for items in shares.values():
                mark(items, traceparent)
            await _all(member.enqueue(items) for member, items in shares.items())

    def _place(
        self, event: Event, partition_key: str | None, event_id: str | None, priority: int
    ) -> "tuple[_Member, Item]":
        """The instance that an event goes to, and the event as it goes there."""
        check_whole(priority, f"{self.job_name}: a priority", -MAX_PRIORITY, MAX_PRIORITY)
        check_event_id(event_id, self.job_name)
        once = self._connection.once
        if event_id is None and once is not None:
            # A repeated attempt takes the same one, so its event goes to the same instance.
            event_id = once.next_id(f"{_KIND.name}:{self.job_name}", "enqueue")
        member = self._member(self._index_for(partition_key, event_id))
        return member, member.item(event, event_id, priority)

    def _index_for(self, partition_key: str | None, event_id: str | None) -> int:
        if partition_key is not None:
            check_partition_key(partition_key, self.job_name)
            return index_of(partition_key, self.concurrency)
        if event_id is not None:
            return index_of(event_id, self.concurrency)
        # Each client begins anywhere: those that live for one event only must not all meet.
        first = random.randrange(self.concurrency)
        turn = self._connection.turns.setdefault(self.job_name, count(first))
        return next(turn) % self.concurrency

    # -- questions ----------------------------------------------------------------------------

    async def status(self, timeout: timedelta = ANSWER_TIME) -> WorkerPoolStatus:
        """What all instances do, in one answer. An instance that never had an event is not in it.

        Raises:
            NoWorker: none answered within `timeout`.
        """
        limit = self._limit(timeout)
        found = await self._each(None, lambda member: member.report(limit))
        return WorkerPoolStatus(
            job_name=self.job_name,
            concurrency=self.concurrency,
            instances=tuple(status for status in found if status is not None),
        )

    def _limit(self, timeout: timedelta) -> TimeLimit:
        check_time(timeout, f"{self.job_name}: timeout")
        return TimeLimit(timeout)

    # -- control ------------------------------------------------------------------------------

    async def pause(self, note: str | None = None, *, index: int | None = None) -> bool:
        """Begin no further event until `resume`; what is queued meanwhile waits.

        Opens instances that are not alive, paused, so that the whole pool is. The status shows the
        note (who and why). Always True.
        """
        return any(await self._each(index, lambda member: member.hold(note, self.concurrency)))

    async def resume(self, note: str | None = None, *, index: int | None = None) -> bool:
        """Go on after `pause`, and at once with events that wait for their next attempt.

        False where no instance is alive.
        """
        return any(await self._each(index, lambda member: member.resume(note)))

    async def trigger(self, *, index: int | None = None) -> bool:
        """Handle the next event now, also where paused or waiting for the next attempt of one.

        Each instance handles one. False where no instance is alive.
        """
        return any(await self._each(index, lambda member: member.order("trigger")))

    async def drain(self, *, index: int | None = None) -> bool:
        """Work off what waits and what still comes, then end; a later event opens a fresh life.

        An instance stays while it is paused or has failed events. False where none is alive.
        """
        return any(await self._each(index, lambda member: member.order("drain")))

    async def drain_beyond(self) -> None:
        """Have instances end that a smaller concurrency has left behind. The library's own."""
        await _all(self._member(index).order("drain") for index in await self._beyond())

    async def clear(self, *, index: int | None = None, timeout: timedelta = ANSWER_TIME) -> int:
        """Drop the events that wait; failed ones stay. Returns how many there were.

        Those that quick handlers get to meanwhile are handled all the same.

        Raises:
            NoWorker: none answered within `timeout`. It may still be done.
        """
        limit = self._limit(timeout)
        return sum(await self._each(index, lambda member: member.counted("clear", limit)))

    async def redrive(
        self,
        id: str | None = None,  # noqa: A002
        *,
        index: int | None = None,
        timeout: timedelta = ANSWER_TIME,
    ) -> int:
        """Queue the events that failed for good again, or the one with this id.

        They are listed in `status().failed_events`. Each goes back to the instance that has it.
        Returns how many there were.

        Raises:
            NoWorker: none answered within `timeout`. It may still be done.
        """
        limit = self._limit(timeout)
        check_event_id(id, self.job_name)
        given = () if id is None else (id,)
        return sum(await self._each(index, lambda member: member.counted("redrive", limit, *given)))

    async def terminate(self, reason: str | None = None, *, index: int | None = None) -> bool:
        """End the instances; what waits is dropped and counted. False where none is alive."""
        return any(await self._each(index, lambda member: member.terminate(reason)))

    async def erase(
        self, *, index: int | None = None, timeout: timedelta = ERASE_TIME
    ) -> tuple[EraseReceipt, ...]:
        """End the instances and delete all that Temporal has of them, for good.

        Those too that ended, and those that a smaller `concurrency` left behind. Gives a receipt
        for each of which there was something. Otherwise as the `erase` of any other handle.
        """
        check_time(timeout, f"{self.job_name}: timeout")
        receipts = await self._each(index, lambda member: member.erase(timeout), alive=False)
        return tuple(each for each in receipts if each.deleted_runs or each.deleted_deliveries)

    # -- instances ----------------------------------------------------------------------------

    def _member(self, index: int) -> "_Member":
        if index not in self._members:
            self._members[index] = _Member(self._connection, self._job, str(index))
        return self._members[index]

    async def _each(
        self,
        index: int | None,
        act: "Callable[[_Member], Awaitable[Answer]]",
        *,
        alive: bool = True,
    ) -> list[Answer]:
        """What all instances answer, by index, or the one of an index.

        Of those left behind, the ones that are alive, or all that the server knows.
        """
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(member: _Member) -> Answer:
            async with slots:
                return await act(member)

        return await _all(
            one(self._member(each)) for each in await self._indexes(index, alive=alive)
        )

    async def _indexes(self, index: int | None, *, alive: bool) -> list[int]:
        if index is None:
            return [*range(self.concurrency), *await self._beyond(alive=alive)]
        check_whole(index, f"{self.job_name}: an index", 0, MAX_CONCURRENCY - 1)
        return [index]

    async def _beyond(self, *, alive: bool = True) -> list[int]:
        """Instances that a smaller concurrency has left behind: those alive, or all there are.

        The server's list lags a second, and they have been there for longer.
        """
        prefix = f"{_KIND.name}:{self.job_name}:"
        query = f"WorkflowType = '{_KIND.workflow}' AND WorkflowId STARTS_WITH '{prefix}'"
        if alive:
            query += " AND ExecutionStatus = 'Running'"
        client = await self._connection.link.client()
        try:
            keys = {found.id.removeprefix(prefix) async for found in client.list_workflows(query)}
        except RPCError as error:
            # The time-skipping test server has no list.
            if error.status == RPCStatusCode.UNIMPLEMENTED:
                return []
            raise
        indexes = (int(key) for key in keys if _KIND.takes_key(key))
        return sorted(index for index in indexes if index >= self.concurrency)


class _Member(Handle[None]):
    """One instance of a pool."""

    workflow = _KIND.workflow

    def item(self, event: Any, event_id: str | None, priority: int) -> Item:
        """An event as it goes to the instance."""
        item = self._item(event, event_id, "enqueue")
        item.priority = priority
        return item

    async def enqueue(self, items: list[Item]) -> None:
        """Send events, in order; those that come at the same time share a call."""
        lane = (self.instance_id, "enqueue")
        await self._connection.batcher.share_all(lane, self._signal_events_of_pool, items)

    async def _signal_events_of_pool(self, items: list[Item]) -> list[None]:
        return await self._signal_events("enqueue", items)

    async def hold(self, note: str | None, concurrency: int) -> bool:
        """Pause; one that belongs to the pool is opened for it."""
        if await self.pause(note) or int(self.key) >= concurrency:
            return True
        await self._signal_with_start("pause", note)
        return True

    async def order(self, verb: str) -> bool:
        """Give an order that takes nothing. False where the instance is not alive."""
        return await self._control(verb)

    async def counted(self, verb: str, limit: TimeLimit, *arguments: str) -> int:
        """Have something done, and hear to how many events; 0 where it is not alive."""
        return await self._counted(verb, list(arguments), limit)

    async def report(self, limit: TimeLimit) -> JobStatus | None:
        """Its status, within the time that all have."""
        return await self.status(limit.left)


async def _all(calls: Iterable[Awaitable[Answer]]) -> list[Answer]:
    """The answers to all calls; where any fails, the others are made all the same."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
