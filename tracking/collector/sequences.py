"""Which places in an execution's sequence were taken, and which are missing."""

import sqlite3
from typing import Literal, TypeAlias

Hole: TypeAlias = Literal["missing", "acknowledged"]

_COLUMNS = "execution, first, last, acknowledged"
_BETWEEN = """
SELECT before + 1 AS first, sequence - 1 AS last FROM (
  SELECT sequence, lag(sequence, 1, :above) OVER (ORDER BY sequence) AS before
  FROM events WHERE execution = :execution AND sequence > :above AND sequence <= :top
) WHERE sequence > before + 1
"""
_HIGHEST = 2**62


class Places:
    """Who stands where, during one transaction that adds events after it asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._here: set[tuple[str, int]] = set()

    def take(self, execution: str, sequence: int) -> None:
        """An event of this transaction stands there."""
        self._here.add((execution, sequence))

    def taken(self, execution: str, sequence: int) -> bool:
        """Whether an event that is kept stands there."""
        if (execution, sequence) in self._here:
            return True
        query = "SELECT 1 FROM events WHERE execution = ? AND sequence = ? LIMIT 1"
        return self._connection.execute(query, (execution, sequence)).fetchone() is not None

    def fill(self, execution: str, sequence: int) -> Hole | None:
        """Fill a place up to which all is noted, and say what it was; None: it was taken once."""
        query = "SELECT first, last, acknowledged FROM holes WHERE execution = ? AND first <= ?"
        found = self._connection.execute(
            f"{query} ORDER BY first DESC LIMIT 1", (execution, sequence)
        ).fetchone()
        if found is None or found[1] < sequence:
            return None
        first, last, acknowledged = found
        self._connection.execute(
            "DELETE FROM holes WHERE execution = ? AND first = ?", (execution, first)
        )
        left = [(first, sequence - 1), (sequence + 1, last)]
        self._connection.executemany(
            f"INSERT INTO holes ({_COLUMNS}) VALUES (?, ?, ?, ?)",
            [(execution, *part, acknowledged) for part in left if part[0] <= part[1]],
        )
        return "acknowledged" if acknowledged else "missing"


def missing(
    connection: sqlite3.Connection, execution: str, forgotten: int, limit: int
) -> tuple[list[list[int]], int]:
    """The first missing ranges, both ends included, and how many there are in all."""
    query = f"""
    SELECT first, last, count(*) OVER () FROM (
      SELECT first, last FROM holes WHERE execution = :execution AND acknowledged = 0
      UNION ALL {_BETWEEN}
    ) ORDER BY first LIMIT :limit
    """
    values = {"execution": execution, "above": forgotten, "top": _HIGHEST, "limit": limit}
    rows = connection.execute(query, values).fetchall()
    return [[row[0], row[1]] for row in rows], rows[0][2] if rows else 0


def pass_by(connection: sqlite3.Connection, execution: str, top: int) -> None:
    """Note what is missing up to `top`, so that nobody has to look at the events around it."""
    query = "SELECT forgotten, max_sequence > count FROM executions WHERE execution = ?"
    row = connection.execute(query, (execution,)).fetchone()
    if row is None or row[0] >= top:
        return
    if row[1]:
        connection.execute(
            f"INSERT INTO holes ({_COLUMNS}) SELECT :execution, first, last, 0 FROM ({_BETWEEN})",
            {"execution": execution, "above": row[0], "top": top},
        )
    connection.execute("UPDATE executions SET forgotten = ? WHERE execution = ?", (top, execution))


def take_all(connection: sqlite3.Connection, execution: str) -> None:
    """Count every sequence up to the highest as one that came, and whose event is forgotten."""
    connection.execute(
        """UPDATE executions SET forgotten = max_sequence, count = max_sequence, clashes = 0
        WHERE execution = ?""",
        (execution,),
    )
    connection.execute("DELETE FROM holes WHERE execution = ?", (execution,))


def acknowledge(connection: sqlite3.Connection, execution: str | None, most: int) -> list[int]:
    """Count as no longer missing what is missing now, of one execution or of all.

    Does it for at most so many executions, in a transaction; gives how many sequences that was of
    each. What was acknowledged and comes after all is kept.
    """
    query = """SELECT execution, max_sequence, count FROM executions
        WHERE max_sequence > count AND execution = coalesce(?, execution) LIMIT ?"""
    found = connection.execute(query, (execution, most)).fetchall()
    for name, top, _ in found:
        pass_by(connection, name, top)
        connection.execute("UPDATE holes SET acknowledged = 1 WHERE execution = ?", (name,))
        counted = "UPDATE executions SET count = max_sequence WHERE execution = ?"
        connection.execute(counted, (name,))
    return [top - count for _, top, count in found]
