"""Erases one instance: ends it, waits for its tracking events, deletes what Temporal has of it."""

from datetime import timedelta
from typing import Final

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription
from temporalio.service import RPCError

from ..connection import target_of
from ..errors import JobsError, NoWorker
from ..handles.batch import run_is_full
from ..handles.connection import Connection
from ..handles.ended import foreign_text
from ..handles.instance import Instance, is_missing
from ..handles.limits import TimeLimit
from ..many.selection import quoted
from ..names import SIMULATED
from ..status import EraseReceipt
from .deliveries import Deliveries
from .runs import Run, delete, first_of, is_over, listed, looked_at, named, pauses, still_there
from .untold import check_told

_REASON: Final = "erased"
_DELETION = timedelta(minutes=3)
"""Temporal deletes what has ended some 35 s later: its queues note every 30 s how far they are."""

_TO_EXPLAIN = timedelta(seconds=2)


class Eraser:
    """Erases one instance. `timeout` is for its end, and then for its tracking events."""

    def __init__(self, connection: Connection, instance: Instance, timeout: timedelta) -> None:
        self._connection = connection
        self._instance = instance
        self._timeout = timeout

    async def erase(self) -> EraseReceipt:
        """Do it. Done again, also after an error, it does the rest.

        Raises:
            NoWorker: none ended it in time; nothing was deleted.
            JobsError: another workflow has its ID, a tracking event of it waits, or it lives on.
        """
        client = await self._connection.link.client()
        if target_of(client) == SIMULATED:
            raise JobsError(
                "nothing is erased in a simulation: it takes a server, such as that of the fixture "
                "live_jobs"
            )
        try:
            return await self._erase(client)
        except RPCError as error:
            raise await self._instance.explained(error) from error

    async def _erase(self, client: Client) -> EraseReceipt:
        target = await self._target(client)
        was_alive = target is not None and await self._end(client, target)
        runs = await self._runs(client, target) if target is not None else []
        for run in runs:
            await check_told(client, run, self._timeout)
        queues = {self._connection.task_queue, *(run.task_queue for run in runs)}
        deliveries = Deliveries(client, queues, self._instance.id)
        await deliveries.until_over(self._limit())
        deleted = await self._delete(client, target, deliveries)
        self._connection.lately.forget(self._instance.id)
        return EraseReceipt(
            instance_id=self._instance.id,
            ended=was_alive,
            deleted_runs=len(deleted),
            deleted_deliveries=len(deliveries.found),
            reopened=await self._instance.look(self._limit()) is not None,
        )

    def _limit(self) -> TimeLimit:
        return TimeLimit(self._timeout)

    async def _target(self, client: Client) -> WorkflowExecutionDescription | None:
        """Its last run, up to which all are to go; None where Temporal knows none."""
        found = await self._instance.look(self._limit())
        if found is None:
            # What an earlier deletion left, which was cut off.
            left = sorted(await self._listed(client), key=lambda run: run.start_time)
            found = await looked_at(client, *named(left[-1])) if left else None
        if found is not None and (foreign := foreign_text(self._instance.id, found)) is not None:
            raise JobsError(f"{foreign}; nothing was deleted")
        return found

    # -- its end

    async def _end(self, client: Client, target: WorkflowExecutionDescription) -> bool:
        """Have it end, and wait for that. Returns whether it was alive."""
        if is_over(target):
            return False
        await self._order_end()
        limit = self._limit()
        async for _ in pauses(limit):
            found = await looked_at(client, self._instance.id)
            # Another one that began as new is a later life.
            if found is None or is_over(found) or first_of(found) != first_of(target):
                return True
        raise await self._lives_on(target, limit)

    async def _order_end(self) -> None:
        try:
            await self._instance.signal("terminate", [_REASON])
        except RPCError as error:
            if run_is_full(error):
                # It takes no more signals, but updates.
                await self._instance.update("terminate", [_REASON], self._limit())
            elif not is_missing(error):
                raise

    async def _lives_on(self, target: WorkflowExecutionDescription, limit: TimeLimit) -> JobsError:
        try:
            status = await self._instance.status(TimeLimit(_TO_EXPLAIN))
        except NoWorker:
            return NoWorker(
                f"{self._instance.id}: no worker ended it within {limit}; does one run for the "
                f"task queue {target.task_queue!r}? Nothing was deleted. It ends once one runs: "
                "erase it again then"
            )
        word = status["status"] if status is not None else "ended"
        return JobsError(
            f"{self._instance.id}: it was told to end, and after {limit} it is {word}: an event "
            "that came meanwhile opens a new life. Nothing was deleted; erase it again once "
            "nobody sends to it"
        )

    # -- its runs

    async def _listed(self, client: Client) -> list[WorkflowExecution]:
        return await listed(client, f"WorkflowId = {quoted(self._instance.id)}")

    async def _runs(
        self, client: Client, target: WorkflowExecutionDescription
    ) -> list[WorkflowExecution]:
        """Those that are to go, as far as visibility knows them, and the target itself."""
        found = {named(run): run for run in await self._listed(client)}
        # Visibility may not know it yet, or not that it is over.
        found[named(target)] = target
        kept = [await self._old(client, run, target) for run in found.values()]
        return [run for run in kept if run is not None]

    async def _old(
        self, client: Client, run: WorkflowExecution, target: WorkflowExecutionDescription
    ) -> WorkflowExecution | None:
        """A run as it is now, where it is none of a later life, and is still there."""
        if run.start_time < target.start_time and is_over(run):
            return run
        now = await looked_at(client, *named(run))
        if now is None or not is_over(now):
            return None
        is_old = now.start_time <= target.start_time or first_of(now) == first_of(target)
        return now if is_old else None

    async def _delete(
        self, client: Client, target: WorkflowExecutionDescription | None, deliveries: Deliveries
    ) -> set[Run]:
        """Delete runs and deliveries, until Temporal neither lists nor describes any.

        Returns the runs.
        """
        limit = TimeLimit(_DELETION)
        deleted: set[Run] = set()
        left: set[Run] = set()
        async for _ in pauses(limit):
            runs = (
                {named(run) for run in await self._runs(client, target)} if target else set[Run]()
            )
            # One that began lately may be listed only now.
            await deliveries.until_over(self._limit())
            new = (runs | deliveries.found) - deleted
            await delete(client, new)
            deleted |= new
            left = (left | new) if runs else await still_there(client, left | new)
            if not left:
                return deleted - deliveries.found
        raise JobsError(
            f"{self._instance.id}: Temporal still has {len(left)} of {len(deleted)} deleted runs "
            f"after {limit}; erase it again later"
        )
