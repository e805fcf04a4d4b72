"""Old events leave in small steps, so that intake never waits for long."""

import itertools
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from .books import HOUR, MINUTE
from .sequences import pass_by

STEP = 1000  # events
_JUMP = 300.0  # seconds that a clock may gain between two looks at it
_DAY = 86_400.0

# Twice as long as a worker tries to deliver an event, unless told otherwise.
_DELIVERED = 2 * 86_400_000  # ms

_DONE = "SELECT 1 FROM events WHERE events.{0} = {1}.{0}"
_KNOWN = "SELECT 1 FROM executions WHERE executions.execution = {0}.execution"
_EMPTY = f"NOT EXISTS ({_DONE.format('execution', 'executions')})"
# One that goes on is needed: the next sequence would look like a gap.
_OVER = """NOT EXISTS (SELECT 1 FROM instances WHERE instances.instance = executions.instance
                AND instances.execution = executions.execution)"""


class Clock:
    """The time in milliseconds since 1970, by a clock that may be set wrong for a while.

    What is deleted does not come back: a jump ahead is believed once it has lasted a day.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = lambda: _steady(),
    ) -> None:
        self._wall, self._steady = wall, steady
        self._believed, self._at = wall(), steady()
        self._jumped_at: float | None = None

    def now(self) -> int:
        """The time; to be asked every now and then, as it is compared with the last time."""
        wall, steady = self._wall(), self._steady()
        expected = self._believed + steady - self._at
        if wall <= expected + _JUMP:
            self._jumped_at = None
        elif self._jumped_at is None:
            self._jumped_at = steady
        if self._jumped_at is None or steady - self._jumped_at > _DAY:
            self._believed, self._at, self._jumped_at = wall, steady, None
            return int(wall * 1000)
        return int(expected * 1000)


def _steady() -> float:
    """Seconds since the start of the machine, its sleep included where it tells."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def forget_step(
    connection: sqlite3.Connection, before: int, step: int = STEP, now: int | None = None
) -> bool:
    """Delete up to `step` events that came before a time, in a transaction; True: there is more.

    `seq` is the order of arrival, so what is old stands at its beginning, up to the first that is
    not: numbers of arrival have no holes but those of erased events.
    """
    now = int(time.time() * 1000) if now is None else now
    query = "SELECT seq, received, instance, execution, sequence FROM events ORDER BY seq LIMIT ?"
    rows = connection.execute(query, (step,)).fetchall()
    _correct_times(connection, [row[0] for row in rows if row[1] > now], now)
    old = list(itertools.takewhile(lambda row: row[1] < before, rows))
    if old:
        _forget_events(connection, old)
    if len(old) < step:
        _forget_counts(connection, before)
    return _forget_executions(connection, step, now) or len(old) == step


def _correct_times(connection: sqlite3.Connection, numbers: list[int], now: int) -> None:
    """Of events that came while the clock was ahead is known that they came by now."""
    connection.executemany(
        "UPDATE events SET received = ? WHERE seq = ?", [(now, seq) for seq in numbers]
    )


def _forget_events(connection: sqlite3.Connection, old: list[tuple[Any, ...]]) -> None:
    tops: dict[str, int] = {}
    for _, _, _, execution, sequence in old:
        if execution is not None:
            tops[execution] = max(sequence, tops.get(execution, 0))
    for execution, top in tops.items():
        pass_by(connection, execution, top)
    for table in ("events", "erased"):
        connection.execute(f"DELETE FROM {table} WHERE seq <= ?", (old[-1][0],))
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


def _forget_executions(connection: sqlite3.Connection, step: int, now: int) -> bool:
    """Those of which nothing will be delivered again; True: there may be more."""
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
