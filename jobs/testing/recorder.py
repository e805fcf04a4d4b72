"""Takes what a handler does by `run.jobs`, and keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from temporalio.common import RawValue

from durable_jobs.errors import JobsError
from durable_jobs.kinds import KINDS, JobKind
from durable_jobs.values import JSON
from durable_jobs.wire import from_raw
from durable_jobs.workflows.inputs import read_message
from durable_jobs.workflows.machines.texts import EventText

from .service import Described, Service, not_found


@dataclass(frozen=True)
class Call:
    """One call of `run.jobs`."""

    instance_id: str
    """The ID of the instance that it was for."""

    verb: str
    """What was done: `add`, `send`, `enqueue`, `start`, `pause` and so on."""

    events: list[JSON] = field(default_factory=list[JSON])
    """The events that it brought, as JSON."""

    argument: JSON = None
    """What it took beside: a reason, a note, the state of a `start`."""


class Recorder(Service):
    """No instance is alive here: `status` and `state` give None."""

    def __init__(self, now: datetime) -> None:
        self.calls: list[Call] = []
        self._now = now

    async def start(
        self,
        workflow_id: str,
        argument: JSON,
        *,
        signal: tuple[str, Sequence[RawValue]] | None,
        fails_if_alive: bool,
    ) -> str:
        """See base class."""
        if signal is None:
            self.calls.append(Call(workflow_id, "start", argument=argument.get("state")))
        else:
            await self.signal(workflow_id, *signal)
        return "run"

    async def signal(self, workflow_id: str, name: str, args: Sequence[RawValue]) -> None:
        """See base class."""
        self.calls.append(self._call(workflow_id, name, args))

    def _call(self, workflow_id: str, name: str, args: Sequence[RawValue]) -> Call:
        kind = _kind_of(workflow_id)
        if name not in kind.brings:
            return Call(workflow_id, name, argument=from_raw(args[0]) if args else None)
        found = read_message(kind, name, args, self._now).events
        events = [each.event().data for each in found if isinstance(each, EventText)]
        return Call(workflow_id, name.removesuffix("_batch"), events)

    async def update(
        self,
        workflow_id: str,
        name: str,
        args: Sequence[RawValue],
        update_id: str,
        start: JSON = None,
    ) -> JSON:
        """See base class."""
        if name in _kind_of(workflow_id).brings:
            raise JobsError(
                f"{workflow_id}: run_job gives no answers, and the handler waits for one. "
                "Test it with a Simulation that has both jobs."
            )
        await self.signal(workflow_id, name, args)
        return {"count": 0}

    async def query(self, workflow_id: str, name: str) -> JSON:
        """See base class."""
        raise not_found(workflow_id)

    async def describe(self, workflow_id: str) -> Described:
        """See base class."""
        raise not_found(workflow_id)

    async def heartbeat(self, token: bytes, mark: Any) -> None:
        """See base class. The attempt has said so itself."""


def _kind_of(workflow_id: str) -> JobKind:
    return KINDS[workflow_id.partition(":")[0]]
