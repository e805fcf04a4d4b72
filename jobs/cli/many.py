"""The verbs for several instances: counted and confirmed first, then told one after the other."""

import asyncio
import sys
import uuid
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from .choose import Choice
from .leave import complain
from .lines import events_text, plain
from .options import print_json
from .progress import Progress
from .reach import FAILED, NO_ANSWER, NOT_FOUND, WRONG_INPUT, Trouble, reach

if TYPE_CHECKING:
    from ..handles.connection import Connection
    from ..many.acting import BulkResult, Plan

_DONE = {
    "pause": "paused",
    "resume": "resumed",
    "trigger": "triggered",
    "flush": "flushed",
    "clear": "cleared",
    "redrive": "redriven",
    "terminate": "terminated",
}
_NOTHING_TO_DO = {
    "pause": "paused already",
    "resume": "not paused",
    "flush": "with nothing to flush",
    "clear": "with nothing to drop",
    "redrive": "with nothing set aside",
}
_REPEATS = ("trigger",)
"""What has its effect again when it is told again."""


@dataclass(frozen=True)
class Bulk:
    """What to tell whom, and how."""

    verb: str
    arguments: list[Any]
    instances: list[str]
    """Their IDs; else those of the choice are meant."""

    choice: Choice
    rate: float
    timeout: timedelta
    sure: bool
    operation: str | None
    as_json: bool

    @property
    def whole_job(self) -> str | None:
        """The job that is meant with its instances to come."""
        from ..many.whole_job import means_job

        selection = self.choice.selection()
        return selection.job if means_job(selection, self.verb) else None


async def tell_many(bulk: Bulk) -> int:
    """Do it; gives the exit code."""
    connection = await reach(bulk.timeout)
    plan = await _named(bulk) if bulk.instances else await _chosen(connection, bulk)
    if (plan.targets or bulk.whole_job) and not bulk.instances:
        _confirm(bulk, plan)
    result = await _tell(connection, bulk, plan)
    if bulk.as_json:
        print_json(asdict(result))
    else:
        typer.echo(_summary(bulk, result))
    if result.unanswered:
        first, why = next(iter(result.unanswered.items()))
        complain(f"{len(result.unanswered):,} did not say whether they are meant and were left "
                 f"alone, the first: {first} ({why})")  # fmt: skip
    if result.failed:
        return FAILED
    return NO_ANSWER if result.unanswered else 0


async def _named(bulk: Bulk) -> "Plan":
    from ..many.acting import Plan
    from ..many.finding import Found
    from ..many.selection import parts_of
    from .remote import checked_verb, instance_of

    ids = list(dict.fromkeys(instance_of([word]) for word in bulk.instances))
    for each in ids:
        kind, _, _ = parts_of(each)
        assert kind is not None
        checked_verb(kind, bulk.verb)
    now = datetime.now(UTC)
    return Plan([Found(each, now, "", is_alive=True) for each in ids])


async def _chosen(connection: "Connection", bulk: Bulk) -> "Plan":
    from ..many.acting import plan_for
    from ..many.finding import Finder

    selection = bulk.choice.selection()
    if selection.is_all:
        raise Trouble(
            f"name the instances to {bulk.verb}, or choose them by --type, --job, --key-prefix, "
            "--status, --failing or --overdue",
            WRONG_INPUT,
        )
    finder = Finder(connection, bulk.timeout)
    selection = selection.taking(bulk.verb)
    named = await finder.named(selection)
    with Progress("asking each for its status", len(named)) as progress:
        plan = await plan_for(finder, selection, bulk.verb, named, progress.step)
    if not (plan.targets or plan.already or plan.unanswered or bulk.whole_job):
        raise Trouble("no instance fits the choice", NOT_FOUND)
    return plan


def _confirm(bulk: Bulk, plan: "Plan") -> None:
    jobs = Counter(":".join(found.id.split(":")[:2]) for found in plan.targets)
    count = f"{len(plan.targets):,} to {bulk.verb}: " + ", ".join(
        f"{name} {number:,}" for name, number in jobs.most_common()
    )
    if bulk.whole_job:
        count = (
            f"the job {bulk.whole_job} with all instances to come, and the "
            f"{len(plan.targets):,} that there are now, to {bulk.verb}"
        )
    rest = f"; {plan.already:,} {_NOTHING_TO_DO[bulk.verb]}" if plan.already else ""
    typer.echo(count + rest, err=True)
    if bulk.sure:
        return
    if not sys.stdin.isatty():
        raise Trouble("nothing was sent: say --yes where nobody can be asked", WRONG_INPUT)
    if not typer.confirm("Go on?", err=True):
        raise Trouble("nothing was sent", FAILED)


async def _tell(connection: "Connection", bulk: Bulk, plan: "Plan") -> "BulkResult":
    from ..many.acting import Order
    from ..many.whole_job import tell_job

    operation = bulk.operation
    if operation is None and bulk.verb in _REPEATS and len(plan.targets) > 1:
        operation = uuid.uuid4().hex[:8]
        typer.echo(f"if this is cut off, add --operation {operation} to do only the rest", err=True)
    order = Order(
        connection,
        bulk.verb,
        bulk.arguments,
        rate=bulk.rate,
        timeout=bulk.timeout,
        operation=operation,
    )
    note = bulk.arguments[0] if bulk.arguments else None
    job = await tell_job(connection, bulk.choice.selection(), bulk.verb, note)
    with Progress(bulk.verb, len(plan.targets)) as progress:
        told: set[str] = set()

        def tell(result: "BulkResult") -> None:
            for instance in result.failed.keys() - told:
                told.add(instance)
                progress.say(f"{plain(instance)} failed: {plain(result.failed[instance])}")
            progress.step()

        try:
            result = await order.give(plan, tell)
        except asyncio.CancelledError:
            done = f"{progress.done:,} of {len(plan.targets):,}"
            again = f" with --operation {operation}" if operation else ""
            complain(f"stopped after {done}; give the command again{again} for the rest")
            raise
    result.job = job
    return result


def _summary(bulk: Bulk, result: "BulkResult") -> str:
    verb = bulk.verb
    counted = f" ({events_text(result.events)})" if verb in ("clear", "redrive") else ""
    parts = [f"{result.done:,} {_DONE[verb]}{counted}"]
    if result.already:
        parts.append(f"{result.already:,} {_NOTHING_TO_DO[verb]}")
    if result.ended:
        parts.append(f"{result.ended:,} not alive")
    if result.failed:
        parts.append(f"{len(result.failed):,} failed")
    counts = ", ".join(parts)
    whole = f"the job {bulk.whole_job} is {_DONE[verb]} as a whole; " if result.job else ""
    return whole + counts
