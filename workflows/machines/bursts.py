"""Queued events, and bursts: one activity handles several, each a run of its own.

An activity may end before it got to all of them. Where it is lost, any of them may have begun: each
then counts an attempt, and goes on alone under the key that it had.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from durable_jobs.burst import key_in_burst
from durable_jobs.protocol import Begun, Report, RunResult
from durable_jobs.values import JSON

from .machine import Machine
from .messages import BadInput, Message
from .queue import Item, Queue, SetAside
from .run import LOST, Run


def queue_events(machine: Machine, queue: Queue, message: Message) -> JSON:
    """Queue a message's events, and reject those that are none. Returns the answer to it."""
    taken = False
    for event in message.events:
        if isinstance(event, BadInput):
            machine.reject(f"{message.verb}: {event}", message.at)
        else:
            taken = queue.put(event, message.at) or taken
    return {"eventCount": len(queue), "duplicate": not taken}


def check_burst(result: RunResult, events: int) -> None:
    """Raise `ValueError` where a result is of more events than an activity was given."""
    if len(result.after) >= max(events, 1):
        raise ValueError("it is of more events than there were")
    for each in [result, *result.after]:
        if not each.ran and not (events and isinstance(each.detail.get("rejected"), str)):
            raise ValueError("it does not say why nothing ran")


def runs_of(machine: Machine, first: Run, result: RunResult) -> list[RunResult]:
    """The results of a burst in order; counts and tells of the runs after the first."""
    for index, after in enumerate(result.after, 1):
        run = machine.new_run(first.handler, key_in_burst(first.key, index))
        machine.executed(run, after.executed, ran=after.ran)
    return [result, *result.after]


def newest_of(results: list[RunResult]) -> RunResult | None:
    """The result that has the state."""
    return next((result for result in reversed(results) if result.ran), None)


@dataclass(frozen=True, slots=True)
class FailedBehind:
    """An event behind the first one of a burst whose attempt failed, with its run."""

    item: Item
    run: Run
    report: Report


def go_on_behind(
    machine: Machine,
    queue: Queue,
    items: deque[Item],
    first: Run,
    result: RunResult,
    *,
    dropped: bool,
) -> FailedBehind | None:
    """Queue what a burst did not get to, unless a caller has dropped it.

    One that began in vain is marked with its run. Returns the event that failed, if one did.
    """
    handled = 1 + len(result.after)
    rest = list(items)[handled:]
    queue.learn(len(items), handled)
    if rest and result.cut_off:
        rest[0].begun = Begun(key=key_in_burst(first.key, handled))
    failed = None
    if rest and result.failed is not None:
        run = machine.new_run(first.handler, key_in_burst(first.key, handled))
        failed = FailedBehind(rest.pop(0), run, result.failed)
    leave_rest(machine, queue, rest, dropped=dropped)
    return failed


def leave_rest(machine: Machine, queue: Queue, rest: list[Item], *, dropped: bool) -> None:
    """Queue events again that were not begun, or count them where a caller has dropped them."""
    if dropped:
        machine.ending.discarded += len(rest)
    else:
        queue.put_back(rest)


def set_aside(
    machine: Machine, kept: SetAside, item: Item, key: str, report: Report, now: datetime
) -> None:
    """Keep an event that failed for good."""
    gone = kept.crowded_out
    kept.add(item, key, report, now)
    gone = kept.crowded_out - gone
    if gone:
        why = "failed events had to go for a later one: too many are set aside"
        machine.tools.warn(f"{gone} {why}")


def take_rest(items: deque[Item]) -> list[Item]:
    """Take out all but the first event."""
    rest = list(items)[1:]
    while len(items) > 1:
        items.pop()
    return rest


def put_back_lost(queue: Queue, items: deque[Item], first: Run) -> None:
    """Queue all but the first event of a lost burst again."""
    rest = take_rest(items)
    for index, item in enumerate(rest, 1):
        item.begun = Begun(key=key_in_burst(first.key, index), attempts=1)
    queue.put_back(rest)


def begin_again(machine: Machine, handler: str, begun: Begun, now: datetime) -> Run:
    """The run of an event that may have begun in a burst; tells of the attempts that were lost."""
    run = machine.new_run(handler, begun.key)
    for _ in range(begun.attempts):
        lost = run.lost(LOST, "TimeoutError", machine.rules, now, 0.0)
        # It may not have begun at all: the limit of attempts does not count it.
        machine.emit_failed(run, lost.model_copy(update={"retry_in": 0.0, "exhausted": None}))
        run.attempt += 1
    return run
