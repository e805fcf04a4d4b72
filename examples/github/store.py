"""What came of the deliveries, in one SQLite file that receiver and worker share.

Every write can be repeated: a run that was tried twice leaves what one try leaves.
"""

import sqlite3
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from .events import Check, Delivery
from .records import DigestRecord, HealthRecord, Record, ThreadNote, ThreadRecord

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
  id TEXT PRIMARY KEY, event TEXT NOT NULL, key TEXT NOT NULL, received_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_received ON deliveries (received_at);
CREATE TABLE IF NOT EXISTS digests (
  id TEXT PRIMARY KEY, key TEXT NOT NULL, last_at TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS digests_last ON digests (last_at);
CREATE INDEX IF NOT EXISTS digests_key ON digests (key, last_at);
CREATE TABLE IF NOT EXISTS digested (
  digest TEXT NOT NULL, delivery TEXT NOT NULL, PRIMARY KEY (digest, delivery)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (
  key TEXT NOT NULL, name TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (key, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS threads (
  id TEXT PRIMARY KEY, repository TEXT NOT NULL, state TEXT NOT NULL, active_at TEXT NOT NULL,
  record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS threads_repository ON threads (repository, state);
CREATE TABLE IF NOT EXISTS notes (
  id TEXT PRIMARY KEY, thread TEXT NOT NULL, at TEXT NOT NULL, record TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS health (key TEXT PRIMARY KEY, record TEXT NOT NULL);
"""
_Statement = tuple[str, tuple[object, ...]]
_R = TypeVar("_R", bound=Record)


class Store:
    """A connection to the file, safe to use from several threads.

    Methods raise `sqlite3.OperationalError` if others keep the file locked for `wait` seconds.
    """

    def __init__(self, path: Path, *, wait: float = 10.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._wait = wait
        self._db = sqlite3.connect(
            path, timeout=wait, check_same_thread=False, isolation_level=None
        )
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    # Deliveries: what the receiver has handed to the jobs.

    def seen(self, delivery_id: str) -> bool:
        """Whether the jobs have accepted this delivery before."""
        return bool(self._all("SELECT 1 FROM deliveries WHERE id = ?", delivery_id))

    def record_delivery(self, delivery: Delivery) -> None:
        """Remember that the jobs have accepted a delivery."""
        row = (delivery.id, delivery.event, delivery.key, _time(delivery.at))
        self._write([("INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?)", row)])

    def forget_deliveries(self, before: datetime) -> None:
        """Drop the ids of deliveries too old to come again."""
        self._write([("DELETE FROM deliveries WHERE received_at < ?", (_time(before),))])

    def delivery_ids(self) -> set[str]:
        """Give the ids of all deliveries remembered."""
        return {row[0] for row in self._all("SELECT id FROM deliveries")}

    # Digests.

    def save_digest(
        self, record: DigestRecord, ids: Iterable[str], checks: Iterable[Check]
    ) -> None:
        """Keep a digest, which deliveries are in it, and the checks it learned of."""
        row = (record.id, record.key, _time(record.last_at), record.model_dump_json())
        self._write(
            [
                ("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", row),
                *(("INSERT OR IGNORE INTO digested VALUES (?, ?)", (record.id, i)) for i in ids),
                *(
                    (
                        "INSERT OR REPLACE INTO checks VALUES (?, ?, ?)",
                        (record.key, check.name, check.model_dump_json()),
                    )
                    for check in checks
                ),
            ]
        )

    def digests(self, limit: int = 50) -> list[DigestRecord]:
        """Give the latest digests, the newest first."""
        sql = "SELECT record FROM digests ORDER BY last_at DESC, id LIMIT ?"
        return self._records(DigestRecord, sql, limit)

    def digest_counts(self) -> dict[str, int]:
        """Give for each delivery the number of digests it is in, which should be 1."""
        return dict(self._all("SELECT delivery, count(*) FROM digested GROUP BY delivery"))

    # Threads.

    def save_thread(self, thread: ThreadRecord, note: ThreadNote | None = None) -> None:
        """Keep a thread as its job sees it now, and what the job did."""
        row = (
            thread.id,
            thread.repository,
            thread.state,
            _time(thread.active_at),
            thread.model_dump_json(),
        )
        statements: list[_Statement] = [
            ("INSERT OR REPLACE INTO threads VALUES (?, ?, ?, ?, ?)", row)
        ]
        if note:
            values = (note.id, note.thread, _time(note.at), note.model_dump_json())
            statements.append(("INSERT OR IGNORE INTO notes VALUES (?, ?, ?, ?)", values))
        self._write(statements)

    def threads(self, limit: int = 200) -> list[ThreadRecord]:
        """Give the threads, those with the latest activity first."""
        sql = "SELECT record FROM threads ORDER BY active_at DESC, id LIMIT ?"
        return self._records(ThreadRecord, sql, limit)

    def thread_state(self, thread: str) -> str | None:
        """Give the state of one thread."""
        found = self._all("SELECT state FROM threads WHERE id = ?", thread)
        return found[0][0] if found else None

    def notes(self, limit: int = 200) -> list[ThreadNote]:
        """Give what the threads' jobs did, the latest first."""
        return self._records(
            ThreadNote, "SELECT record FROM notes ORDER BY at DESC, id LIMIT ?", limit
        )

    # Health.

    def open_threads(self, repository: str) -> list[ThreadRecord]:
        """Give a repository's open threads."""
        sql = "SELECT record FROM threads WHERE repository = ? AND state = 'open' ORDER BY id"
        return self._records(ThreadRecord, sql, repository)

    def checks(self, repository: str) -> list[Check]:
        """Give the latest outcome of each of a repository's checks."""
        rows = self._all("SELECT record FROM checks WHERE key = ? ORDER BY name", repository)
        return [Check.model_validate_json(row[0]) for row in rows]

    def last_activity(self, repository: str) -> datetime | None:
        """Give the time of the last delivery that is in a digest."""
        found = self._all("SELECT max(last_at) FROM digests WHERE key = ?", repository)[0][0]
        return datetime.fromisoformat(found) if found else None

    def save_health(self, repository: str, health: HealthRecord) -> None:
        """Keep how a repository stands, in place of what was known."""
        row = (repository, health.model_dump_json())
        self._write([("INSERT OR REPLACE INTO health VALUES (?, ?)", row)])

    def forget_health(self, repository: str) -> None:
        """Drop a repository that is no longer watched."""
        self._write([("DELETE FROM health WHERE key = ?", (repository,))])

    def health(self) -> dict[str, HealthRecord]:
        """Give how each repository stands."""
        rows = self._all("SELECT key, record FROM health ORDER BY key")
        return {key: HealthRecord.model_validate_json(record) for key, record in rows}

    @contextmanager
    def _turn(self) -> Generator[None]:
        # Not for ever: those before this one may each wait for the file.
        if not self._lock.acquire(timeout=self._wait):
            raise sqlite3.OperationalError("the database is busy")
        try:
            yield
        finally:
            self._lock.release()

    def _all(self, sql: str, *values: object) -> list[Any]:
        with self._turn():
            return self._db.execute(sql, values).fetchall()

    def _records(self, kind: type[_R], sql: str, *values: object) -> list[_R]:
        return [kind.model_validate_json(row[0]) for row in self._all(sql, *values)]

    def _write(self, statements: Iterable[_Statement]) -> None:
        with self._turn():
            # Taking the write lock first waits its turn; upgrading a read lock could fail at once.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for sql, values in statements:
                    self._db.execute(sql, values)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _time(value: datetime) -> str:
    """Write a time so that texts sort as times do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")
