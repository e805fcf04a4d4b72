"""One transaction: the events that are new, and what they change in the other tables."""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .books import (
    EXECUTION_COLUMNS,
    HOUR,
    INSTANCE_COLUMNS,
    MINUTE,
    RETRIED,
    Execution,
    Instance,
    execution_row,
    instance_row,
    new_instance,
    will_retry,
)
from .erasures import digest_of
from .intake import Accepted
from .sequences import Places

_PARAMETERS = 900  # of one statement; SQLite takes 999 at least

_EVENT_COLUMNS = (
    "event_id",
    "received",
    "at",
    "instance",
    "job",
    "type",
    "execution",
    "sequence",
    "raw",
)
_COUNT_COLUMNS = ("step", "start", "job", "type", "n")
_ADD = "ON CONFLICT DO UPDATE SET n = n + excluded.n"


def _replace(columns: Sequence[str]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    return f"ON CONFLICT DO UPDATE SET {changes}"


_REPLACE_INSTANCE = _replace(INSTANCE_COLUMNS)
_REPLACE_EXECUTION = _replace(EXECUTION_COLUMNS)


def write(connection: sqlite3.Connection, events: Iterable[Accepted]) -> list[Accepted]:
    """Keep those that were not kept before, and give them; to be called in a transaction."""
    first: dict[str, Accepted] = {}
    for event in events:
        first.setdefault(event.event_id, event)
    known = kept(connection, first) | _erased(connection, first.values())
    new = [event for event in first.values() if event.event_id not in known]
    # Before the events, whose table says which places in a sequence were taken before.
    new = _write_executions(connection, new) if new else new
    if not new:
        return new
    received = time.time_ns() // 1_000_000
    rows = [_event_row(event, received) for event in new]
    _insert(connection, "events", _EVENT_COLUMNS, rows)
    _write_instances(connection, new)
    _insert(connection, "counts", _COUNT_COLUMNS, _counts(new), _ADD)
    return new


def kept(connection: sqlite3.Connection, event_ids: Iterable[str]) -> set[str]:
    """Those of the IDs under which an event is kept."""
    return {row[0] for row in _rows(connection, "event_id FROM events", "event_id", event_ids)}


def _erased(connection: sqlite3.Connection, events: Iterable[Accepted]) -> set[str]:
    """Those of the events without a sequence that were erased; others are known by theirs."""
    names = {digest_of(event.event_id): event.event_id for event in events if not event.execution}
    found = _rows(connection, "digest FROM erased", "digest", names)
    return {names[row[0]] for row in found}


def _event_row(event: Accepted, received: int) -> tuple[Any, ...]:
    return (
        event.event_id,
        received,
        event.at,
        event.instance,
        event.job,
        event.type,
        event.execution,
        event.sequence,
        event.raw,
    )


def _write_instances(connection: sqlite3.Connection, events: Sequence[Accepted]) -> None:
    names = dict.fromkeys(event.instance for event in events)
    what = f"{', '.join(INSTANCE_COLUMNS)} FROM instances"
    books = {row[0]: Instance(*row) for row in _rows(connection, what, "instance", names)}
    for event in events:
        book = books.get(event.instance)
        if book is None:
            book = books[event.instance] = new_instance(event)
        book.note(event)
    rows = [instance_row(book) for book in books.values()]
    _insert(connection, "instances", INSTANCE_COLUMNS, rows, _REPLACE_INSTANCE)


def _write_executions(connection: sqlite3.Connection, events: list[Accepted]) -> list[Accepted]:
    """Give the events without those that were kept once already, until retention deleted them."""
    names = {event.execution: event.instance for event in events if event.execution}
    what = f"{', '.join(EXECUTION_COLUMNS)} FROM executions"
    books = {row[0]: Execution(*row) for row in _rows(connection, what, "execution", names)}
    places = Places(connection)
    new: list[Accepted] = []
    for event in events:
        if event.execution is None:
            new.append(event)
            continue
        book = books.get(event.execution)
        if book is None:
            book = Execution(event.execution, event.instance, event.at)
            books[event.execution] = book
        if book.note(event, places):
            new.append(event)
    rows = [execution_row(book) for book in books.values()]
    _insert(connection, "executions", EXECUTION_COLUMNS, rows, _REPLACE_EXECUTION)
    return new


def _counts(events: Iterable[Accepted]) -> list[tuple[Any, ...]]:
    counts: Counter[tuple[int, int, str, str]] = Counter()
    for event in events:
        kinds = (event.type, RETRIED) if will_retry(event) else (event.type,)
        for step in (MINUTE, HOUR):
            start = event.at - event.at % step
            for kind in kinds:
                counts[step, start, event.job, kind] += 1
    return [(*place, n) for place, n in counts.items()]


def _insert(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    conflict: str = "",
) -> None:
    """Insert many rows a statement.

    With a statement a row, the thread would give the interpreter away at each, and wait for it.
    """
    most = _PARAMETERS // len(columns)
    one = f"({', '.join('?' * len(columns))})"
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        values = ", ".join([one] * len(part))
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values} {conflict}",
            [value for row in part for value in row],
        )


def _rows(
    connection: sqlite3.Connection, what: str, column: str, values: Iterable[str | bytes]
) -> list[tuple[Any, ...]]:
    wanted, found = list(values), list[tuple[Any, ...]]()
    for start in range(0, len(wanted), _PARAMETERS):
        chunk = wanted[start : start + _PARAMETERS]
        query = f"SELECT {what} WHERE {column} IN ({', '.join('?' * len(chunk))})"
        found += connection.execute(query, chunk).fetchall()
    return found
