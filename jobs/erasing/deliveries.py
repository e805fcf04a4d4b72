"""The shared deliveries that carry tracking events of one instance."""

from collections.abc import Collection, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution
from temporalio.common import RawValue
from temporalio.service import RPCError

from ..errors import JobsError
from ..handles.instance import is_missing
from ..handles.limits import TimeLimit
from ..many.calls import results
from ..many.selection import quoted
from ..names import DELIVERY_WORKFLOW
from ..protocol import DeliverRequest
from ..wire import JSON, Undecodable, from_raw
from .runs import Run, is_over, listed, looked_at, named, pauses
from .untold import ended_from_outside, reconciled

_AT_ONCE = 4
"""Histories in memory, each of 1 MB or a little more."""


class Deliveries:
    """Those of some task queues; each history is read, since events of many instances share one."""

    def __init__(self, client: Client, queues: Collection[str], instance_id: str) -> None:
        names = ", ".join(quoted(queue) for queue in sorted(queues))
        self._query = f"WorkflowType = '{DELIVERY_WORKFLOW}' AND TaskQueue IN ({names})"
        self._client = client
        self._instance_id = instance_id
        self._others: set[Run] = set()
        """Those that are over and carry nothing of it."""

        self.found: set[Run] = set()
        """Those that carry events of it, and are over."""

    async def until_over(self, limit: TimeLimit) -> None:
        """Wait until each that carries events of the instance is over.

        Raises:
            JobsError: one runs on, as its collector takes nothing; or it was ended from outside.
        """
        running: list[Run] = []
        async for _ in pauses(limit):
            running = await self._look()
            if not running:
                return
        raise JobsError(
            f"{self._instance_id}: tracking events of it still wait for their collector after "
            f"{limit}, in {running[0].workflow_id}. Erase it again once they were delivered"
        )

    async def _look(self) -> list[Run]:
        """Find them. Returns those that run."""
        running: list[Run] = []
        new = [run for run in await listed(self._client, self._query) if self._is_new(run)]
        async for run, carries in results(new, self._read, _AT_ONCE):
            if not is_over(run):
                running += [named(run)] if carries else []
            elif carries:
                await self._check_delivered(run)
                self.found.add(named(run))
            else:
                self._others.add(named(run))
        return running

    def _is_new(self, run: WorkflowExecution) -> bool:
        return named(run) not in self.found | self._others

    async def _check_delivered(self, run: WorkflowExecution) -> None:
        if ended_from_outside(run) and not await reconciled(self._client, run):
            raise JobsError(
                f"{self._instance_id}: {run.id}, which carries tracking events of it, was ended "
                "from outside. Run `durable-jobs reconcile`, then erase it again"
            )

    async def _read(self, listed_run: WorkflowExecution) -> tuple[WorkflowExecution, bool]:
        """How a delivery is now, and whether it carries anything of the instance."""
        # Visibility may be late to say that it is over.
        run = await looked_at(self._client, listed_run.id, listed_run.run_id)
        if run is None:
            return listed_run, False
        handle = self._client.get_workflow_handle(run.id, run_id=run.run_id)
        try:
            async for event in handle.fetch_history_events():
                if self._has_own(await self._given(run, event)):
                    return run, True
        except RPCError as error:
            if not is_missing(error):
                raise
        return run, False

    async def _given(self, run: WorkflowExecution, event: HistoryEvent) -> JSON:
        """What a delivery was given in one event of its history."""
        if event.HasField("workflow_execution_started_event_attributes"):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
        elif event.HasField("workflow_execution_signaled_event_attributes"):
            payloads = event.workflow_execution_signaled_event_attributes.input.payloads
        else:
            return None
        try:
            return await self._decoded(payloads)
        except (Undecodable, ValueError) as error:
            raise JobsError(
                f"{self._instance_id}: {run.id} may carry tracking events of it, and cannot be "
                f"read here ({error}). Erase it by a client that has the workers' payload codec"
            ) from error

    async def _decoded(self, payloads: Sequence[Payload]) -> JSON:
        codec = self._client.data_converter.payload_codec
        found = await codec.decode(payloads) if codec is not None else payloads
        return from_raw(RawValue(found[0])) if found else None

    def _has_own(self, given: Any) -> bool:
        try:
            events = DeliverRequest.model_validate(given).events
        except ValueError:
            # No tracking events: the delivery ignored it.
            return False
        return any(event.get("instanceId") == self._instance_id for event in events)
