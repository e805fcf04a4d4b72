"""A list of instances as people read it."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text

from ..many.finding import Seen
from ..many.selection import due_of
from ..pauses import JobPause
from .lines import plain
from .screen import console
from .show import STYLES
from .spans import span_text

if TYPE_CHECKING:
    from .listing import Listing

_LONGEST_ID = 60
"""A longer one shifts what stands beside it."""

_MOST_OF_AN_ID = 250
_ERROR_ROOM = 40
_HEAD = ("INSTANCE", "STATUS", "NEXT", "RUNS", "EVENTS")
_NUMBERS = (3, 4)
"""Which of these are set to the right."""


def print_list(listing: "Listing") -> None:
    """Print the instances, a line for each, and the counts."""
    out = console()
    if listing.shown:
        out.print(table_of(listing.shown, out.width), soft_wrap=True)
    out.print(Text(summary_of(listing), "dim"), soft_wrap=True)


def table_of(shown: Iterable[Seen], width: int) -> Text:
    """A line for each instance. Its error goes beside the rest, or below it where that is narrow.

    An ID stays in one piece, however long, so that it can be copied.
    """
    rows = [_cells(each) for each in shown]
    table = [_HEAD, *(row[:-1] for row in rows)]
    columns = [place for place in range(len(_HEAD)) if any(row[place] for row in table[1:])]
    widths = {place: max(cell_len(row[place]) for row in table) for place in columns}
    widths[0] = min(widths[0], _LONGEST_ID)
    room = width - sum(widths.values()) - 2 * len(widths)
    beside = room >= _ERROR_ROOM and any(row[-1] for row in rows)
    head = [*_padded(_HEAD, widths), *(["LAST ERROR"] if beside else [])]
    lines = [Text("  ".join(head).rstrip(), "dim")]
    for *cells, error in rows:
        first, word, *others = _padded(cells, widths)
        line = Text("  ").join([Text(first), Text(word, STYLES.get(cells[1], "")),
                                *map(Text, others)])  # fmt: skip
        if not beside:
            line.rstrip()
        if error:
            line.append("  " if beside else "\n  ")
            line.append_text(_cut(error, room if beside else width - 2))
        lines.append(line)
    return Text("\n").join(lines)


def _padded(cells: Sequence[str], widths: dict[int, int]) -> list[str]:
    return [
        f"{_space(cells[place], width)}{cells[place]}"
        if place in _NUMBERS
        else f"{cells[place]}{_space(cells[place], width)}"
        for place, width in widths.items()
    ]


def _space(text: str, width: int) -> str:
    """What a text lacks. Some letters take two columns."""
    return " " * (width - cell_len(text))


def _cut(error: str, width: int) -> Text:
    text = Text(error, "red")
    text.truncate(max(width, _ERROR_ROOM), overflow="ellipsis")
    return text


def _cells(seen: Seen) -> tuple[str, str, str, str, str, str]:
    status = seen.status
    instance = plain(seen.found.id, _MOST_OF_AN_ID)
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
    parts = [_paused(each) for each in listing.paused]
    if listing.total:
        jobs = [f"{name} {count:,}" for name, count in listing.jobs.most_common()]
        parts.append(f"{listing.total:,} found: {_first(jobs)}")
    elif not listing.undecided:
        parts.append("no instance fits the choice")
    if listing.statuses:
        words = (f"{word} {count:,}" for word, count in listing.statuses.most_common())
        parts.append(", ".join(words))
    if len(listing.shown) < listing.total:
        which = "newest" if listing.newest else "first"
        parts.append(f"the {which} {len(listing.shown):,} are shown, --limit 0 shows all")
    if listing.asked:
        advice = "; after `durable-jobs setup` fewer need be" if listing.slowly else ""
        parts.append(f"{listing.asked:,} were asked one by one ({listing.seconds:.1f} s){advice}")
    return "\n".join([*parts, *_silence(listing), *listing.advice])


def _silence(listing: "Listing") -> Iterator[str]:
    """Who gave no answer, and where to look then."""
    quiet = listing.undecided or [each for each in listing.shown if each.status is None]
    if quiet:
        who, why = quiet[0].found.id, plain(quiet[0].problem).removeprefix(f"{quiet[0].found.id}: ")
        yield f"{len(quiet):,} gave no answer, the first {who}: {why}"
        yield "whether a worker runs, says: durable-jobs doctor"


def _paused(pause: JobPause) -> str:
    note = f" ({plain(pause.note)})" if pause.note else ""
    span = span_text(datetime.now(UTC) - pause.since)
    return f"the job {pause.job} is paused as a whole for {span}{note}"


def _first(words: list[str], most: int = 8) -> str:
    more = f" and {len(words) - most} more jobs" if len(words) > most else ""
    return ", ".join(words[:most]) + more
