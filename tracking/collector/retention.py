"""Old events leave in small steps, so that intake never waits for long."""

import sqlite3
import time
from typing import Any

from .books import HOUR, MINUTE
from .sequences import pass_by

STEP = 1000  # events

# Twice as long as a worker tries to deliver an event, unless told otherwise.
_DELIVERED = 2 * 86_400_000  # ms

_DONE = "SELECT 1 FROM events WHERE events.{0} = {1}.{0}"
_KNOWN = "SELECT 1 FROM executions WHERE executions.execution = {0}.execution"
_EMPTY = f"NOT EXISTS ({_DONE.format('execution', 'executions')})"
# One that goes on is needed: the next sequence would look like a gap.
_OVER = """NOT EXISTS (SELECT 1 FROM instances WHERE instances.instance = executions.instance
                AND instances.execution = executions.execution)"""


def forget_step(connection: sqlite3.Connection, before: int, step: int = STEP) -> bool:
    """Delete up to `step` events that came before a time, in a transaction; True: there is more.

    `seq` is the order of arrival, so what is old stands at its beginning.
    """
    query = "SELECT seq, received, instance, execution, sequence FROM events ORDER BY seq LIMIT ?"
    old = [row for row in connection.execute(query, (step,)) if row[1] < before]
    if old:
        _forget_events(connection, old)
    if len(old) < step:
        _forget_counts(connection, before)
    return _forget_executions(connection, step) or len(old) == step


def _forget_events(connection: sqlite3.Connection, old: list[tuple[Any, ...]]) -> None:
    tops: dict[str, int] = {}
    for _, _, _, execution, sequence in old:
        if execution is not None:
            tops[execution] = max(sequence, tops.get(execution, 0))
    for execution, top in tops.items():
        pass_by(connection, execution, top)
    connection.execute("DELETE FROM events WHERE seq <= ?", (old[-1][0],))
    _forget_instances(connection, sorted({row[2] for row in old}))
    _end_executions(connection, sorted(tops))


def _forget_counts(connection: sqlite3.Connection, before: int) -> None:
    """Those from before a time; what is kept may have come late, and is found by its hour's."""
    oldest = "SELECT coalesce(min(at), ?) FROM events"
    [kept] = connection.execute(oldest, (before,)).fetchone()
    connection.execute(
        "DELETE FROM counts WHERE step IN (?, ?) AND start <= ?",
        (MINUTE, HOUR, min(before, kept) - HOUR),
    )


def _forget_instances(connection: sqlite3.Connection, names: list[str]) -> None:
    """Those that are over and have no event left. A quiet poll or task lives on."""
    connection.executemany(
        f"""DELETE FROM instances WHERE instance = ?
        AND (job_type = 'debounce' OR state IN ('completed', 'terminated', 'failed'))
        AND state <> 'paused'
        AND NOT EXISTS ({_DONE.format("instance", "instances")})""",
        [(name,) for name in names],
    )


def _end_executions(connection: sqlite3.Connection, names: list[str]) -> None:
    """Note those that have no event left."""
    connection.executemany(
        f"""INSERT OR REPLACE INTO endings
        SELECT execution, last_at FROM executions WHERE execution = ? AND {_EMPTY}""",
        [(name,) for name in names],
    )


def _forget_executions(connection: sqlite3.Connection, step: int) -> bool:
    """Those of which nothing will be delivered again; True: there may be more."""
    now = int(time.time() * 1000)
    query = "SELECT execution FROM endings WHERE last_at < ? LIMIT ?"
    names = connection.execute(query, (now - _DELIVERED, step)).fetchall()
    for command in (
        f"DELETE FROM executions WHERE execution = ? AND {_EMPTY} AND {_OVER}",
        f"DELETE FROM holes WHERE execution = ? AND NOT EXISTS ({_KNOWN.format('holes')})",
        f"DELETE FROM endings WHERE execution = ? AND NOT EXISTS ({_KNOWN.format('endings')})",
    ):
        connection.executemany(command, names)
    # Its instance may go on under another one, which nothing tells here: it is looked at again.
    later = f"UPDATE endings SET last_at = {now} WHERE execution = ?"
    connection.executemany(later, names)
    return len(names) == step
