"""Erases all events of an instance for good, and keeps a proof that it did.

What says nothing of the instance stays: the counts of its job, and which sequences were there. So
nothing is called missing afterwards, and a late copy of an erased event is not kept again.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterable
from typing import Any

from .sequences import take_all

STEP = 1000  # events in one transaction, between which intake gets its turn

_OVER = ("completed", "terminated", "failed")


def digest_of(text: str) -> bytes:
    """SHA-256: who knows a name can ask for it, and no name can be read from it."""
    return hashlib.sha256(text.encode()).digest()


def executions_of(connection: sqlite3.Connection, instance: str) -> list[str]:
    """All that are known of an instance. No index helps, so this belongs into a reader's thread."""
    query = "SELECT execution FROM executions WHERE instance = ?"
    return [row[0] for row in connection.execute(query, (instance,))]


def begin(connection: sqlite3.Connection, instance: str, executions: list[str]) -> int:
    """Note that an instance is being erased, in a transaction; gives the number of its proof.

    `executions` are those of `executions_of`. One that was begun and cut off goes on.
    """
    digest = digest_of(instance)
    query = "SELECT number FROM erasures WHERE digest = ? AND done IS NULL"
    row = connection.execute(query, (digest,)).fetchone()
    if row is not None:
        return row[0]
    _end(connection, instance, executions)
    _clear(connection, instance, executions)
    connection.execute("INSERT INTO erasures (digest, events) VALUES (?, 0)", (digest,))
    return connection.execute("SELECT last_insert_rowid()").fetchone()[0]


def _end(connection: sqlite3.Connection, instance: str, executions: list[str]) -> None:
    """Let retention forget what is over, once no copy of an event can come any more."""
    query = "SELECT execution, state FROM instances WHERE instance = ?"
    row = connection.execute(query, (instance,)).fetchone()
    # The next sequence of one that goes on would look like a gap.
    goes_on = row[0] if row is not None and row[1] not in _OVER else None
    connection.executemany(
        """INSERT OR REPLACE INTO endings
        SELECT execution, last_at FROM executions WHERE execution = ?""",
        [(execution,) for execution in executions if execution != goes_on],
    )


def _clear(connection: sqlite3.Connection, instance: str, executions: Iterable[str]) -> None:
    """Forget the instance's state; call no sequence missing, and no longer name the instance."""
    connection.execute("DELETE FROM instances WHERE instance = ?", (instance,))
    name = f"erased:{digest_of(instance).hex()}"
    for execution in executions:
        take_all(connection, execution)
        named = "UPDATE executions SET instance = ? WHERE execution = ?"
        connection.execute(named, (name, execution))


def step(connection: sqlite3.Connection, instance: str, number: int, most: int = STEP) -> bool:
    """Delete up to so many of its events, in a transaction; True: there may be more."""
    query = "SELECT seq, event_id, execution FROM events WHERE instance = ? LIMIT ?"
    rows = connection.execute(query, (instance, most)).fetchall()
    # It may have gone on meanwhile.
    _clear(connection, instance, {row[2] for row in rows if row[2] is not None})
    connection.executemany(
        "INSERT OR IGNORE INTO erased (seq, digest) VALUES (?, ?)",
        [
            # A copy of one without a sequence is known by its ID alone.
            (seq, digest_of(event_id) if execution is None else None)
            for seq, event_id, execution in rows
        ],
    )
    connection.executemany("DELETE FROM events WHERE seq = ?", [(row[0],) for row in rows])
    counted = "UPDATE erasures SET events = events + ? WHERE number = ?"
    connection.execute(counted, (len(rows), number))
    return len(rows) == most


def finish(connection: sqlite3.Connection, numbers: list[int]) -> list[dict[str, Any]]:
    """Note that their bytes are gone; gives the proofs."""
    now = time.time_ns() // 1_000_000
    done = "UPDATE erasures SET done = ? WHERE number = ?"
    connection.executemany(done, [(now, number) for number in numbers])
    query = "SELECT * FROM erasures WHERE number = ?"
    return [proof(connection.execute(query, (number,)).fetchone()) for number in numbers]


def proof(row: Any) -> dict[str, Any]:
    """A row of `erasures` as the API shows it."""
    _, digest, done, events = row
    return {"instanceSha256": digest.hex(), "erasedAt": done, "events": events}


def rewrite(connection: sqlite3.Connection) -> None:
    """Write the file anew, so that no byte of what was deleted is left in it; in no transaction.

    Raises sqlite3.OperationalError where a reader keeps the old pages for over 5 s.
    """
    connection.execute("VACUUM")
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("a reader holds on to what was erased; erase it again")
