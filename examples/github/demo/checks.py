"""What must be true in the end, said as what is still missing."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from examples.github.digest import FAILING, plural
from examples.github.events import Delivery
from examples.github.jobs import RepoDigest, Thread
from examples.github.store import Store

from .errors import DemoError
from .ledger import Ledger


@dataclass(frozen=True, slots=True)
class Expected:
    """What follows from the deliveries that were sent."""

    ids: frozenset[str]
    repositories: frozenset[str]
    threads: frozenset[str]
    in_threads: int
    """Deliveries that belong to a thread."""

    @classmethod
    def of(cls, deliveries: Sequence[Delivery]) -> "Expected":
        """Derive it."""
        return cls(
            frozenset(d.id for d in deliveries),
            frozenset(d.repository for d in deliveries if d.repository),
            frozenset(d.thread for d in deliveries if d.thread),
            sum(d.thread is not None for d in deliveries),
        )


def missing(store: Store, ledger: Ledger, expected: Expected) -> list[str]:
    """Name all that is not yet, or not, as it must be."""
    return [
        *_deliveries(store, expected),
        *_threads(store, expected),
        *_health(store, expected),
        *_tracking(store, ledger, expected),
    ]


def _deliveries(store: Store, expected: Expected) -> Iterator[str]:
    if lost := expected.ids - store.delivery_ids():
        yield f"{plural(len(lost), 'delivery', 'deliveries')} not recorded"
    counts = store.digest_counts()
    if lost := expected.ids - counts.keys():
        yield f"{plural(len(lost), 'delivery', 'deliveries')} in no digest"
    if repeated := [name for name, count in counts.items() if count > 1]:
        yield f"{plural(len(repeated), 'delivery', 'deliveries')} in more than one digest"
    gathered = sum(digest.deliveries for digest in store.digests(1000))
    if gathered != len(expected.ids):
        yield f"digests count {gathered} deliveries of {len(expected.ids)}"


def _threads(store: Store, expected: Expected) -> Iterator[str]:
    threads = {thread.id: thread for thread in store.threads()}
    if unknown := expected.threads - threads.keys():
        yield f"nothing known of {', '.join(sorted(unknown))}"
    for thread in threads.values():
        if thread.state == "open" and not thread.follow_ups:
            yield f"no follow-up yet in {thread.id}"


def _health(store: Store, expected: Expected) -> Iterator[str]:
    health = store.health()
    for repository in sorted(expected.repositories):
        found = health.get(repository)
        failing = [c.name for c in store.checks(repository) if c.conclusion in FAILING]
        if found is None:
            yield f"no health summary of {repository}"
        elif found.open != len(store.open_threads(repository)):
            yield f"the health summary of {repository} does not know its open threads"
        elif [check.name for check in found.failing] != failing:
            yield f"the health summary of {repository} does not know its failing checks"


def _tracking(store: Store, ledger: Ledger, expected: Expected) -> Iterator[str]:
    if gaps := ledger.gaps():
        yield f"tracking events missing in {plural(len(gaps), 'execution')}"
    if ledger.clashes:
        yield f"tracking events contradict each other: {ledger.clashes[0]}"
    if ledger.invalid:
        yield f"tracking events that cannot be read: {ledger.invalid[0]}"
    if (flushed := ledger.flushed[RepoDigest.name]) != len(expected.ids):
        yield f"tracking tells of {flushed} deliveries flushed, not {len(expected.ids)}"
    handled = ledger.handled[Thread.name, "on_event"]
    if handled != expected.in_threads:
        yield f"tracking tells of {handled} events in threads, not {expected.in_threads}"
    ended = sum(note.what == "ended" for note in store.notes(1000))
    told = ledger.by_job[Thread.name, "job.terminated"]
    if told != ended:
        yield f"tracking tells of {plural(told, 'thread')} ended, the store of {ended}"


async def until_complete(look: Callable[[], list[str]], within: float) -> None:
    """Wait until nothing is missing.

    Raises:
        DemoError: something still is after `within` seconds.
    """
    deadline = time.monotonic() + within
    while reasons := look():
        if time.monotonic() > deadline:
            raise DemoError(f"after {within:g} s: " + "; ".join(reasons))
        await asyncio.sleep(0.1)
