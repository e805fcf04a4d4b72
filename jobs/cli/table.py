"""A list of instances as people read it."""

import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..many.finding import Seen
from ..many.selection import due_of
from ..pauses import JobPause
from .lines import plain
from .show import STYLES
from .spans import span_text

if TYPE_CHECKING:
    from .listing import Listing

_WIDE = 1_000


def console() -> Console:
    """Where tables are printed. A pipe gets whole lines: it has no width."""
    whole = not (sys.stdout.isatty() or os.environ.get("COLUMNS"))
    return Console(highlight=False, width=_WIDE if whole else None)


def print_list(listing: "Listing") -> None:
    """Print the instances, a line for each, and the counts."""
    out = console()
    if listing.shown:
        out.print(table_of(listing.shown))
    out.print(Text(summary_of(listing), "dim"), soft_wrap=True)


def table_of(shown: Iterable[Seen]) -> Any:
    """A line for each instance."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("INSTANCE", no_wrap=True, overflow="fold")
    for name in ("STATUS", "NEXT"):
        table.add_column(name, no_wrap=True)
    for name in ("RUNS", "EVENTS"):
        table.add_column(name, no_wrap=True, justify="right")
    # The one that gives way where the terminal is narrow.
    table.add_column("LAST ERROR", ratio=1, min_width=10)
    for each in shown:
        instance, word, *cells, error = _cells(each)
        style = STYLES.get(word, "")
        table.add_row(Text(instance), Text(word, style), *cells, _cut(error))
    return table


def _cut(error: str) -> Text:
    return Text(error, "red", no_wrap=True, overflow="ellipsis")


def _cells(seen: Seen) -> tuple[str, str, str, str, str, str]:
    status = seen.status
    instance = plain(seen.found.id)
    if status is None:
        return instance, "?", "", "", "", plain(seen.problem)
    due, now = due_of(status), datetime.now(UTC)
    near = "" if due is None else span_text(due - now)
    when = "" if due is None else f"in {near}" if due > now else f"{near} ago"
    events = "" if status["jobType"] == "continuous" else f"{status['eventCount']:,}"
    error = plain(status["lastError"]) if status["lastError"] else _set_aside(status)
    return instance, status["status"], when, f"{status['runCount']:,}", events, error


def _set_aside(status: dict[str, Any]) -> str:
    failed = status.get("failedEvents")
    return f"{len(failed)} failed events are set aside" if failed else ""


def summary_of(listing: "Listing") -> str:
    """The counts, in words."""
    if not listing.total:
        found = "no instance fits the choice"
    else:
        jobs = [f"{name} {count:,}" for name, count in listing.jobs.most_common()]
        found = f"{listing.total:,} found: {_first(jobs)}"
    parts = [*(_paused(each) for each in listing.paused), found]
    if listing.statuses:
        words = (f"{word} {count:,}" for word, count in listing.statuses.most_common())
        parts.append(", ".join(words))
    if len(listing.shown) < listing.total:
        parts.append(f"the first {len(listing.shown):,} are shown, --limit 0 shows all")
    if listing.asked:
        advice = "; after `durable-jobs setup` fewer need be" if listing.slowly else ""
        parts.append(f"{listing.asked:,} were asked one by one ({listing.seconds:.1f} s){advice}")
    if listing.undecided:
        first = listing.undecided[0]
        parts.append(
            f"{len(listing.undecided):,} gave no answer, the first {first.found.id}: "
            f"{first.problem}"
        )
    return "\n".join(parts)


def _paused(pause: JobPause) -> str:
    note = f" ({plain(pause.note)})" if pause.note else ""
    span = span_text(datetime.now(UTC) - pause.since)
    return f"the job {pause.job} is paused as a whole for {span}{note}"


def _first(words: list[str], most: int = 8) -> str:
    more = f" and {len(words) - most} more jobs" if len(words) > most else ""
    return ", ".join(words[:most]) + more
