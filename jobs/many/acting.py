"""Tells many instances the same, at a rate, and notes what came of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from ..arguments import check_number, check_time
from ..errors import InvalidArgument, JobsError
from ..handles.batch import run_is_full
from ..handles.connection import Connection
from ..handles.instance import Instance, is_missing
from ..handles.limits import TimeLimit
from ..names import STATUS_PAUSED
from ..wire import JSON
from .calls import Pace, results
from .finding import Finder, Found
from .selection import Selection, Status

VERBS: Final = ("pause", "resume", "trigger", "flush", "clear", "redrive", "terminate")
"""What many instances can be told."""

_COUNTED: Final = ("clear", "redrive")
"""What they answer with a number of events, which takes a worker."""

_MAX_RATE = 10_000.0

DEFAULT_RATE = 100.0

_CHANGES: Final[dict[str, Callable[[Status], bool]]] = {
    "pause": lambda status: not status.get("pausedAt"),
    "resume": lambda status: bool(status.get("pausedAt")),
    "flush": lambda status: bool(status["eventCount"]),
    "clear": lambda status: bool(status["eventCount"]),
    "redrive": lambda status: bool(status.get("failedEvents")),
}
"""Whether a verb changes anything, by what an instance does. The others always do."""


@dataclass(slots=True)
class BulkResult:
    """What came of telling many instances the same."""

    done: int = 0
    """Instances that were told. Without a worker they heed it once one runs."""

    already: int = 0
    """Instances that it would not have changed: paused already, nothing to flush. Not told."""

    ended: int = 0
    """Instances that had ended when their turn came."""

    events: int = 0
    """Of `clear` and `redrive`: the events dropped, or queued again."""

    failed: dict[str, str] = field(default_factory=dict[str, str])
    """By instance ID: why it could not be told."""

    unanswered: dict[str, str] = field(default_factory=dict[str, str])
    """By instance ID: why it did not say whether it is meant. Not told."""

    job: bool = False
    """Whether a whole job was paused or resumed: its instances to come, too."""


@dataclass(slots=True)
class Plan:
    """Whom to tell."""

    targets: list[Found] = field(default_factory=list[Found])
    already: int = 0
    unanswered: dict[str, str] = field(default_factory=dict[str, str])


Told = Callable[[BulkResult], object]
"""Hears, after each instance, what came of all so far."""


async def plan_for(
    finder: Finder,
    selection: Selection,
    verb: str,
    named: Sequence[Found],
    seen: Callable[[], object] = lambda: None,
) -> Plan:
    """Whom of those named to tell; asks them where only they know.

    One that does not answer is told all the same, unless the selection needs its answer.
    """
    plan, unclear = Plan(), list[Found]()
    for found in named:
        fits, changes = selection.fits(found.words), _changes(verb, found)
        if fits is None or changes is None:
            unclear.append(found)
        elif fits:
            _place(plan, found, changes=changes)
            seen()
    changing = _CHANGES.get(verb)
    async for each in finder.meant(selection, unclear):
        seen()
        if each.status is None and selection.asks:
            plan.unanswered[each.found.id] = each.problem or "?"
        else:
            same = changing is not None and each.status is not None and not changing(each.status)
            _place(plan, each.found, changes=not same)
    plan.targets.sort(key=lambda found: found.id)
    return plan


def _changes(verb: str, found: Found) -> bool | None:
    """Whether a verb changes anything, as far as visibility knows; None: it must be asked.

    Visibility lags. To pause what is paused already does no harm; so nobody is asked before that.
    To leave out what was paused or resumed a moment ago would.
    """
    if verb not in _CHANGES:
        return True
    if found.words is None or verb not in ("pause", "resume"):
        return None
    return (STATUS_PAUSED in found.words) is (verb == "resume") or None


def _place(plan: Plan, found: Found, *, changes: bool) -> None:
    if changes:
        plan.targets.append(found)
    else:
        plan.already += 1


class Order:
    """One verb for many instances."""

    def __init__(
        self,
        connection: Connection,
        verb: str,
        arguments: Sequence[JSON],
        *,
        rate: float = DEFAULT_RATE,
        timeout: timedelta,
        operation: str | None = None,
    ) -> None:
        """`operation` names it: an instance heeds one of that name once, however often it is told.

        Raises:
            InvalidArgument: the rate or the time is none.
        """
        check_number(rate, f"{verb}_all: rate")
        if not 0 < rate <= _MAX_RATE:
            raise InvalidArgument(f"{verb}_all: rate lies between 0 and {_MAX_RATE:,.0f} a second")
        check_time(timeout, f"{verb}_all: timeout")
        self._connection = connection
        self._verb = verb
        self._arguments = list(arguments)
        self._pace = Pace(rate)
        self._timeout = timeout
        self._operation = operation

    async def give(self, plan: Plan, told: Told = lambda _: None) -> BulkResult:
        """Tell all targets, whatever becomes of one."""
        result = BulkResult(already=plan.already, unanswered=plan.unanswered)
        async for outcome in results(plan.targets, self._tell):
            outcome(result)
            told(result)
        return result

    async def _tell(self, found: Found) -> Callable[[BulkResult], None]:
        """Tell one; gives what notes the outcome."""
        await self._pace.turn()
        instance, limit = Instance(self._connection, found.id), TimeLimit(self._timeout)
        try:
            async with instance.within(limit):
                events = await self._send(instance, limit)
        except RPCError as error:
            if is_missing(error):
                return _ended
            return _failed(found.id, str(await instance.explained(error)))
        except WorkflowUpdateFailedError as error:
            return _failed(found.id, getattr(error.cause, "message", str(error.cause)))
        except JobsError as error:
            return _failed(found.id, str(error))
        return _done(events)

    async def _send(self, instance: Instance, limit: TimeLimit) -> int:
        """Send the verb; gives the number of events that it concerned."""
        once = None if self._operation is None else f"{self._operation}:{instance.id}"
        if self._verb not in _COUNTED:
            try:
                await instance.signal(self._verb, self._arguments, request_id=once)
            except RPCError as error:
                # A run that takes no more signals still takes updates.
                if not run_is_full(error):
                    raise
            else:
                return 0
        answer: Any = await instance.update(self._verb, self._arguments, limit, update_id=once)
        return int(next(iter(answer.values()))) if self._verb in _COUNTED else 0


def _done(events: int) -> Callable[[BulkResult], None]:
    def note(result: BulkResult) -> None:
        result.done += 1
        result.events += events

    return note


def _ended(result: BulkResult) -> None:
    result.ended += 1


def _failed(instance_id: str, why: str) -> Callable[[BulkResult], None]:
    def note(result: BulkResult) -> None:
        result.failed[instance_id] = why.removeprefix(f"{instance_id}: ")

    return note
