"""`durable-jobs list`."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .advice import how_to_retry
from .choose import Choice
from .options import print_json
from .reach import NO_ANSWER, WRONG_INPUT, Trouble, reach, run

if TYPE_CHECKING:
    from ..many.finding import Finder, Found, Seen
    from ..many.selection import Selection
    from ..pauses import JobPause

SORTS: Final = ("id", "started", "status", "next")
_BY_STATUS: Final = ("status", "next")
_WATCH_EVERY = 2.0
_GLANCE = timedelta(seconds=1.2)
"""How long a list takes that is complete without the answers of those shown."""

_SHORTEST = timedelta(seconds=0.3)
"""For their answers, however long it took to find them."""

_WORST_FIRST: Final = (
    "failed", "retrying", "paused", "terminating", "running", "debouncing", "scheduled", "idle",
)  # fmt: skip
_MANY = 1_000
"""Of more than that, the newest are shown."""

_FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Plan:
    """What to list and how."""

    choice: Choice
    sort: str | None
    """None: by ID, or of very many the newest first."""

    limit: int
    timeout: timedelta
    watch: bool = False
    as_json: bool = False


@dataclass
class Listing:
    """What was found."""

    total: int = 0
    jobs: Counter[str] = field(default_factory=Counter[str])
    """By job type and name; of very many of no job in particular, by type."""

    statuses: Counter[str] | None = None
    """None: not all were asked."""

    shown: "list[Seen]" = field(default_factory=list["Seen"])
    undecided: "list[Seen]" = field(default_factory=list["Seen"])
    """Those that did not say whether they are meant."""

    newest: bool = False
    """Whether those shown are the newest, and the others are only counted."""

    asked: int = 0
    slowly: bool = False
    """Whether visibility could not tell who is paused or fails, though it might."""

    seconds: float = 0.0
    advice: list[str] = field(default_factory=list[str])
    """What to do about those shown."""

    paused: "list[JobPause]" = field(default_factory=list["JobPause"])
    """Jobs that are paused as a whole."""

    def json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "total": self.total,
            "jobs": dict(sorted(self.jobs.items())),
            "statuses": None if self.statuses is None else dict(sorted(self.statuses.items())),
            "pausedJobs": {each.job: each.note for each in self.paused},
            "unanswered": {each.found.id: each.problem for each in self.undecided},
            "instances": [
                each.status
                or {"instanceId": each.found.id, "status": None, "problem": each.problem}
                for each in self.shown
            ],
        }


def show_list(plan: Plan) -> NoReturn:
    """Run the command and end the process."""
    run(_list(plan))


async def _list(plan: Plan) -> int:
    from ..many.finding import Finder

    selection = plan.choice.selection()
    if plan.sort not in (None, *SORTS):
        raise Trouble(f"--sort is one of {', '.join(SORTS)}", WRONG_INPUT)
    if plan.watch and plan.as_json:
        raise Trouble("--watch draws for people; it does not go with --json", WRONG_INPUT)
    from .table import print_list

    connection = await reach(plan.timeout)
    if plan.watch:
        await _watch(lambda: gather(Finder(connection, plan.timeout), selection, plan))
    listing = await gather(Finder(connection, plan.timeout), selection, plan)
    if plan.as_json:
        print_json(listing.json())
    else:
        print_list(listing)
    return NO_ANSWER if listing.undecided else 0


async def gather(finder: "Finder", selection: "Selection", plan: Plan) -> Listing:
    """Find what is meant; asks no more instances than the answer needs."""
    begun = monotonic()
    listing = await _newest(finder, selection, plan, begun)
    if listing is None:
        listing = await _all(finder, selection, plan, begun)
    listing.slowly = not finder.by_status and (selection.failing or selection.status == "paused")
    paused = await finder.paused_jobs()
    listing.paused = [each for each in paused if selection.job in (None, each.job)]
    if selection.failing:
        listing.advice = how_to_retry(listing.shown)
    listing.seconds = monotonic() - begun
    return listing


async def _newest(
    finder: "Finder", selection: "Selection", plan: Plan, begun: float
) -> Listing | None:
    """The newest of very many, which Temporal counts; None where all are wanted or need be asked.

    Temporal names a thousand in a quarter of a second or more, and counts them in a hundredth.
    """
    if plan.sort is not None or plan.as_json or not 0 < plan.limit <= _MANY:
        return None
    counts = await finder.counts(selection)
    if counts is None or counts.total() <= _MANY:
        return None
    shown = [_unasked(found) for found in await finder.newest(selection, plan.limit)]
    shown = await _glanced(finder, selection, shown, _left(begun))
    return Listing(total=counts.total(), jobs=counts, shown=shown, newest=True)


async def _all(finder: "Finder", selection: "Selection", plan: Plan, begun: float) -> Listing:
    named, sort = await finder.named(selection), plan.sort or "id"
    if sort in _BY_STATUS or any(selection.fits(found.words) is None for found in named):
        listing = await _asked(finder, selection, named, shown=not plan.watch)
    else:
        listing = Listing(shown=[_unasked(found) for found in named if selection.fits(found.words)])
    found = sorted(listing.shown, key=_KEYS[sort])
    most = plan.limit or len(found)
    listing.shown, rest = found[:most], found[most:]
    if listing.statuses is None:
        listing.shown = await _glanced(finder, selection, listing.shown, _left(begun))
    listing.total = len(listing.shown) + len(rest)
    everyone = (each.found.id for each in (*listing.shown, *rest))
    listing.jobs = Counter(":".join(instance.split(":")[:2]) for instance in everyone)
    return listing


def _left(begun: float) -> timedelta:
    """How long those shown may take to answer."""
    return max(_GLANCE - timedelta(seconds=monotonic() - begun), _SHORTEST)


async def _asked(
    finder: "Finder", selection: "Selection", named: "list[Found]", *, shown: bool
) -> Listing:
    from .progress import Progress

    listing = Listing(statuses=Counter(), asked=len(named))
    with Progress("asking each for its status", len(named) if shown else 0) as progress:
        async for seen in finder.asked(named):
            progress.step()
            _sort_in(listing, selection, seen)
    return listing


def _sort_in(listing: Listing, selection: "Selection", seen: "Seen") -> None:
    if seen.status is None:
        if seen.problem is not None and selection.asks:
            listing.undecided.append(seen)
        elif seen.problem is not None:
            listing.shown.append(seen)
    elif selection.takes(seen.status, datetime.now(UTC)):
        listing.shown.append(seen)
        assert listing.statuses is not None
        listing.statuses[seen.status["status"]] += 1


async def _glanced(
    finder: "Finder", selection: "Selection", shown: "list[Seen]", time: timedelta
) -> "list[Seen]":
    """The same with their statuses, as far as these come at once, without those not meant."""
    answers = {each.found.id: each for each in shown}
    asked = finder.asked(each.found for each in shown)
    try:
        async with asyncio.timeout(time.total_seconds()):
            async for seen in asked:
                answers[seen.found.id] = seen
    except TimeoutError:
        await asked.aclose()
    return [seen for seen in answers.values() if _is_meant(selection, seen)]


def _is_meant(selection: "Selection", seen: "Seen") -> bool:
    """Whether one stays in a list: it is there, and what visibility said of it still holds."""
    if seen.status is None:
        return seen.problem is not None
    return selection.takes(seen.status, datetime.now(UTC))


def _unasked(found: "Found") -> "Seen":
    from ..many.finding import Seen

    return Seen(found, problem="no answer yet")


def _by_status(seen: "Seen") -> tuple[int, str]:
    word = seen.status["status"] if seen.status else ""
    place = _WORST_FIRST.index(word) if word in _WORST_FIRST else len(_WORST_FIRST)
    return place, seen.found.id


def _by_next(seen: "Seen") -> tuple[datetime, str]:
    from ..many.selection import due_of

    due = due_of(seen.status) if seen.status else None
    return due or _FAR, seen.found.id


_KEYS: dict[str, Callable[["Seen"], Any]] = {
    "id": lambda seen: seen.found.id,
    "started": lambda seen: (seen.found.started_at, seen.found.id),
    "status": _by_status,
    "next": _by_next,
}


async def _watch(look: Callable[[], Awaitable[Listing]]) -> NoReturn:
    """Draw the list anew, until Ctrl-C."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from .table import summary_of, table_of

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            listing = await look()
            now = datetime.now(UTC).astimezone()
            told = Text(f"{summary_of(listing)}\n{now:%H:%M:%S}, Ctrl-C ends", "dim")
            live.update(Group(table_of(listing.shown, live.console.width), told), refresh=True)
            await asyncio.sleep(_WATCH_EVERY)
