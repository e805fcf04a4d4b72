"""The tables. What the page shows first is kept ready, so that no view counts events."""

import sqlite3
from pathlib import Path

VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  -- Counts up and is never used again: the order of arrival, by which a stream resumes.
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL UNIQUE,
  received INTEGER NOT NULL,
  at INTEGER NOT NULL,
  instance TEXT NOT NULL,
  job TEXT NOT NULL,
  type TEXT NOT NULL,
  execution TEXT,
  sequence INTEGER,
  raw TEXT NOT NULL
);
-- One index in the order of time for every filter: `counts` says in which hours a type or a job
-- is to be looked for, which costs intake less than an index a filter.
CREATE INDEX IF NOT EXISTS events_time ON events (at, type, job);
CREATE INDEX IF NOT EXISTS events_instance ON events (instance, at);
CREATE INDEX IF NOT EXISTS events_execution ON events (execution, sequence)
  WHERE execution IS NOT NULL;

CREATE TABLE IF NOT EXISTS instances (
  instance TEXT PRIMARY KEY,
  job_type TEXT NOT NULL,
  job TEXT NOT NULL,
  key TEXT NOT NULL,
  env TEXT NOT NULL,
  service TEXT NOT NULL,
  state TEXT NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  last_type TEXT NOT NULL,
  events INTEGER NOT NULL,
  executed INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  retried INTEGER NOT NULL,
  last_error TEXT,
  next_at INTEGER,
  execution TEXT,
  sequence INTEGER
) WITHOUT ROWID;
-- Filters are looked for in it, as with events; each event moves an instance in every index.
CREATE INDEX IF NOT EXISTS instances_shown ON instances (last_at, instance, state, job_type, job);

CREATE TABLE IF NOT EXISTS executions (
  execution TEXT PRIMARY KEY,
  instance TEXT NOT NULL,
  last_at INTEGER NOT NULL,
  max_sequence INTEGER NOT NULL,
  count INTEGER NOT NULL,
  -- The highest sequence that retention deleted: below it nobody can say which one is missing.
  forgotten INTEGER NOT NULL DEFAULT 0,
  clashes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS executions_gaps ON executions (last_at) WHERE max_sequence > count;

CREATE TABLE IF NOT EXISTS counts (
  step INTEGER NOT NULL,
  start INTEGER NOT NULL,
  job TEXT NOT NULL,
  type TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (step, start, job, type)
) WITHOUT ROWID;
"""


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; makes the tables where they are missing.

    Raises ValueError where the file is another program's or a later version's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its transactions are begun by hand. It is made in one thread and used in another.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version > VERSION or (tables and not version):
            raise ValueError(f"{path} is not a file of this version's collector")
        connection.execute("PRAGMA journal_mode = WAL")
        # An accepted event survives a power cut; grouping makes that cheap.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -131072")
        # 80 MB: copied into the file rarely, a page that changed often is copied once.
        connection.execute("PRAGMA wal_autocheckpoint = 20000")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    except (sqlite3.Error, ValueError):
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA cache_size = -16384")
    connection.row_factory = sqlite3.Row
    return connection
