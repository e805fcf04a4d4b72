"""What the API and the page ask; each answer takes a few steps in an index."""

import itertools
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .books import HOUR, INSTANCE_COLUMNS, MINUTE, RETRIED
from .erasures import digest_of, proof
from .sequences import missing

JSONObject = dict[str, Any]

_MISSING_SHOWN = 50  # ranges of one execution
_BUCKETS = 5000
_USUAL = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)  # minutes
_INNER = ("base", "pause_sequence")  # columns that no answer has
_LATE = 10 * MINUTE  # that an alarm may be, and its run may take, before it counts as cancelled
_CHARACTERS = 4_000_000  # of events in one answer, about
_JOBS = 200  # names in a summary


class WrongQuery(ValueError):
    """A parameter that cannot be understood."""


@dataclass(frozen=True)
class Page:
    """How many rows, and after which one."""

    limit: int
    cursor: str | None = None


@dataclass(frozen=True)
class Where:
    """Conditions joined by AND."""

    conditions: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    def also(self, condition: str, *values: object) -> "Where":
        """One more condition."""
        return Where((*self.conditions, condition), (*self.values, *values))

    def joined(self, other: "Where") -> "Where":
        """The conditions of both."""
        return Where(self.conditions + other.conditions, self.values + other.values)

    @property
    def sql(self) -> str:
        """The clause, empty without a condition."""
        return f"WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


@dataclass(frozen=True)
class Span:
    """From a time to before another one."""

    since: int = -(2**62)
    until: int = 2**62

    def within(self, other: "Span") -> "Span":
        """What both have in common."""
        return Span(max(self.since, other.since), min(self.until, other.until))


def state_now() -> str:
    """The expression for an instance's state: a task whose alarm did not ring waits for none.

    That it was cancelled no event tells, nor that the lack of a worker holds it up.
    """
    return f"CASE WHEN {_overdue()} THEN 'idle' ELSE state END"


def _overdue() -> str:
    return f"state = 'scheduled' AND next_at < {int(time.time() * 1000) - _LATE}"


def instances(connection: sqlite3.Connection, where: Where, page: Page) -> JSONObject:
    """Instances, the last changed first."""
    if page.cursor is not None:
        at, name = _split(page.cursor)
        where = where.also("(last_at, instance) < (?, ?)", at, name)
    columns = (f"{state_now()} AS state" if name == "state" else name for name in INSTANCE_COLUMNS)
    query = f"""SELECT {", ".join(columns)} FROM instances {where.sql}
        ORDER BY last_at DESC, instance DESC LIMIT ?"""
    rows = connection.execute(query, (*where.values, page.limit + 1)).fetchall()
    shown = rows[: page.limit]
    cursor = _after(shown[-1], "instance") if len(rows) > len(shown) else None
    return {"instances": [_instance(row) for row in shown], "cursor": cursor}


def events(
    connection: sqlite3.Connection, where: Where, kinds: Where, span: Span, page: Page
) -> str:
    """Events, the newest first, as JSON: each in the very text it came in.

    `kinds` are conditions on `type` and `job`. Fewer than asked for, with a cursor, where they
    are large.
    """
    if page.cursor is not None:
        at, seq = _split(page.cursor)
        span = span.within(Span(until=at + 1))
        where = where.also("NOT (at = ? AND seq >= ?)", at, _whole(seq))
    shown: list[str] = []
    cursor, last, size = None, "", 0
    for row in _found(connection, where.joined(kinds), _spans(connection, kinds, span), page.limit):
        if len(shown) == page.limit or size > _CHARACTERS:
            cursor = last
            break
        shown.append(row["raw"])
        size += len(row["raw"])
        last = f"{row['at']}~{row['seq']}"
    return f'{{"events":[{",".join(shown)}],"cursor":{json.dumps(cursor)}}}'


def _spans(connection: sqlite3.Connection, kinds: Where, span: Span) -> Iterator[Span]:
    """Where to look, the newest first: of some kinds, the hours that have any."""
    if not kinds.conditions:
        yield span
        return
    hours = kinds.also("step = ?", HOUR).also("start > ?", span.since - HOUR)
    hours = hours.also("start < ?", span.until)
    query = f"SELECT DISTINCT start FROM counts {hours.sql} ORDER BY start DESC"
    for (start,) in connection.execute(query, hours.values):
        yield span.within(Span(start, start + HOUR))


def _found(
    connection: sqlite3.Connection, where: Where, spans: Iterable[Span], limit: int
) -> Iterator[sqlite3.Row]:
    """Rows, the newest first, and at least one more than the limit where there is one."""
    for span in spans:
        there = where.also("at >= ?", span.since).also("at < ?", span.until)
        query = f"SELECT seq, at, raw FROM events {there.sql} ORDER BY at DESC, seq DESC LIMIT ?"
        yield from connection.execute(query, (*there.values, limit + 1))


def arrived(
    connection: sqlite3.Connection, after: int, limit: int, most: int
) -> list[tuple[int, str]]:
    """The next events in the order of arrival: number and text.

    At least one, where there is any, and no further one once they have `most` characters.
    """
    query = "SELECT seq, raw FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    found: list[tuple[int, str]] = []
    size = 0
    for row in connection.execute(query, (after, limit)):
        found.append((row["seq"], row["raw"]))
        size += len(row["raw"])
        if size >= most:
            break
    return found


def newest(connection: sqlite3.Connection) -> int:
    """The number of the event that came last, whether it is still kept or not."""
    query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
    return connection.execute(query).fetchone()[0]


def gaps(connection: sqlite3.Connection, page: Page, instance: str | None = None) -> JSONObject:
    """Executions whose sequence is not whole, the last changed first, and what is wrong with it."""
    where = Where(("(max_sequence > count OR clashes > 0)",))
    if instance is not None:
        where = where.also("instance = ?", instance)
    total = connection.execute(f"SELECT count(*) FROM executions {where.sql}", where.values)
    if page.cursor is not None:
        at, execution = _split(page.cursor)
        where = where.also("(last_at, execution) < (?, ?)", at, execution)
    query = f"SELECT * FROM executions {where.sql} ORDER BY last_at DESC, execution DESC LIMIT ?"
    rows = connection.execute(query, (*where.values, page.limit + 1)).fetchall()
    shown = rows[: page.limit]
    return {
        "total": total.fetchone()[0],
        "gaps": [_gap(connection, row) for row in shown],
        "cursor": _after(shown[-1], "execution") if len(rows) > len(shown) else None,
    }


def _gap(connection: sqlite3.Connection, row: sqlite3.Row) -> JSONObject:
    ranges, all_of_them = missing(connection, row["execution"], row["forgotten"], _MISSING_SHOWN)
    return {
        "executionId": row["execution"],
        "instanceId": row["instance"],
        "lastAt": row["last_at"],
        "highest": row["max_sequence"],
        "missing": row["max_sequence"] - row["count"],
        "ranges": ranges,
        "more": all_of_them - len(ranges),
        "clashes": row["clashes"],
    }


def rates(
    connection: sqlite3.Connection,
    span: tuple[int, int],
    step: int,
    bins: int | None,
    job: str | None,
) -> JSONObject:
    """Runs, failures and retries per step; steps in which nothing happened are left out.

    With `bins` a step is as wide as it must be for so many to cover the span.
    """
    since, until = span
    width = step if bins is None else _width(span, step, bins)
    if (until - since) // width > _BUCKETS:
        raise WrongQuery(
            f"the range has more than {_BUCKETS} steps; ask for step=hour, for bins or for less"
        )
    kept = MINUTE if width % HOUR else HOUR
    where = Where(("step = ?", "start >= ?", "start < ?"), (kept, since - since % width, until))
    where = where.also("job = ?", job) if job else where
    buckets: dict[int, JSONObject] = {}
    names = {"job.executed": "executed", "job.failed": "failed", RETRIED: "retried"}
    query = f"SELECT start - start % ?, type, sum(n) FROM counts {where.sql} GROUP BY 1, 2"
    for start, kind, n in connection.execute(query, (width, *where.values)):
        empty = {"at": start, "executed": 0, "failed": 0, "retried": 0, "events": 0}
        bucket = buckets.setdefault(start, empty)
        if kind in names:
            bucket[names[kind]] = n
        bucket["events"] += 0 if kind == RETRIED else n
    named = {MINUTE: "minute", HOUR: "hour"}[step] if bins is None else width
    return {"since": since, "until": until, "step": named, "buckets": list(buckets.values())}


def _width(span: tuple[int, int], step: int, bins: int) -> int:
    """The narrowest usual width, no less than `step`, of which at most `bins` cover the span."""
    usual = (minutes * MINUTE for minutes in _USUAL)
    wide = (24 * HOUR << times for times in itertools.count(1))
    return next(
        width
        for width in itertools.chain(usual, wide)
        if width >= step and (span[1] - 1) // width - span[0] // width < bins
    )


def summary(connection: sqlite3.Connection) -> JSONObject:
    """What stands at the top of the page."""
    ends = "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
    first, last = connection.execute(ends).fetchone()
    jobs = _jobs(connection)
    broken = "SELECT count(*) FROM executions WHERE max_sequence > count"
    clashing = "SELECT count(*) FROM executions WHERE clashes > 0"
    return {
        "events": 0 if first is None else last - first + 1 - _erased(connection, first, last),
        "seq": newest(connection),
        "states": _states(connection),
        "lastReceivedAt": None if last is None else _received(connection, last),
        "jobs": jobs[:_JOBS],
        "moreJobs": len(jobs) > _JOBS,
        "gaps": connection.execute(broken).fetchone()[0],
        "clashes": connection.execute(clashing).fetchone()[0],
    }


def _erased(connection: sqlite3.Connection, first: int, last: int) -> int:
    """How many numbers of arrival have no event any more; of others only the oldest have none."""
    query = "SELECT count(*) FROM erased WHERE seq BETWEEN ? AND ?"
    return connection.execute(query, (first, last)).fetchone()[0]


def erasures(connection: sqlite3.Connection, page: Page, instance: str | None = None) -> JSONObject:
    """The proofs of what was erased, the newest first."""
    where = Where(("done IS NOT NULL",))
    if instance is not None:
        where = where.also("digest = ?", digest_of(instance))
    if page.cursor is not None:
        where = where.also("number < ?", _whole(page.cursor))
    query = f"SELECT * FROM erasures {where.sql} ORDER BY number DESC LIMIT ?"
    rows = connection.execute(query, (*where.values, page.limit + 1)).fetchall()
    shown = rows[: page.limit]
    return {
        "erasures": [proof(row) for row in shown],
        "cursor": str(shown[-1]["number"]) if len(rows) > len(shown) else None,
    }


def _received(connection: sqlite3.Connection, seq: int) -> int:
    return connection.execute("SELECT received FROM events WHERE seq = ?", (seq,)).fetchone()[0]


def _jobs(connection: sqlite3.Connection) -> list[str]:
    """The first names of jobs, one more than are shown where there are so many."""
    first = f"SELECT min(job) FROM counts INDEXED BY counts_jobs WHERE step = {HOUR}"
    query = f"""WITH RECURSIVE found(job) AS (
          {first} UNION ALL
          SELECT ({first} AND job > found.job) FROM found WHERE found.job IS NOT NULL
        ) SELECT job FROM found WHERE job IS NOT NULL LIMIT ?"""
    return [row[0] for row in connection.execute(query, (_JOBS + 1,))]


def _states(connection: sqlite3.Connection) -> dict[str, int]:
    """How many instances are in each; two indexes have it all."""
    query = f"""SELECT state, count(*) FROM instances GROUP BY state
        UNION ALL SELECT NULL, count(*) FROM instances WHERE {_overdue()}"""
    states = Counter[str | None](dict(map(tuple[str | None, int], connection.execute(query))))
    overdue = states.pop(None)
    states.update({"scheduled": -overdue, "idle": overdue})
    return {state: n for state, n in states.items() if state is not None and n}


def _instance(row: sqlite3.Row) -> JSONObject:
    names = {
        "instance": "instanceId",
        "job_type": "jobType",
        "job": "jobName",
        "key": "id",
        "service": "serviceKey",
        "first_at": "firstAt",
        "last_at": "lastAt",
        "last_type": "lastType",
        "last_error": "lastError",
        "next_at": "nextAt",
        "execution": "executionId",
        "paused_by": "pausedBy",
        "pause_note": "pauseNote",
    }
    shown = [column for column in row.keys() if column not in _INNER]  # noqa: SIM118
    return {names.get(column, column): row[column] for column in shown}


def _after(row: sqlite3.Row, name: str) -> str:
    return f"{row['last_at']}~{row[name]}"


def _split(cursor: str) -> tuple[int, str]:
    at, mark, rest = cursor.partition("~")
    if not mark:
        raise WrongQuery("the cursor is none that was given here")
    return _whole(at), rest


def _whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise WrongQuery(f"{text[:50]!r} is not a number") from None
    if abs(value) >= 2**63:
        raise WrongQuery(f"{text[:50]!r} is too large")
    return value
