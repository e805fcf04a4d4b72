"""Queued events, and bursts: one activity handles several, each a run of its own.

An activity may end before it got to all of them. Where it is lost, any of them may have begun: each
then counts an attempt, and goes on alone under the key that it had.
"""

from collections import deque
from datetime import datetime

from durable_jobs.burst import key_in_burst
from durable_jobs.protocol import Begun, RunResult
from durable_jobs.values import JSON

from .machine import Machine
from .messages import BadInput, Message
from .queue import Item, Queue
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


def rest_of(queue: Queue, items: deque[Item], first: Run, result: RunResult) -> list[Item]:
    """The events that a burst did not get to, one that began in vain marked with its run."""
    handled = 1 + len(result.after)
    rest = list(items)[handled:]
    queue.learn(len(items), handled)
    if rest and result.cut_off:
        rest[0].begun = Begun(key=key_in_burst(first.key, handled))
    return rest


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
