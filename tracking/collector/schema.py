"""The tables. What the page shows first is kept ready, so that no view counts events."""

import contextlib
import os
import sqlite3
from pathlib import Path

VERSION = 4
APPLICATION = 0x646A6576  # "djev": what the file is, by SQLite's field for that

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
  sequence INTEGER,
  -- The state without regard to a pause; `state` is what is shown.
  base TEXT NOT NULL DEFAULT '',
  paused_by TEXT,
  pause_note TEXT,
  pause_sequence INTEGER
) WITHOUT ROWID;
-- Filters are looked for in it, as with events; each event moves an instance in every index.
CREATE INDEX IF NOT EXISTS instances_shown ON instances (last_at, instance, state, job_type, job);
-- By it those are counted whose alarm did not ring.
CREATE INDEX IF NOT EXISTS instances_alarms ON instances (next_at, state)
  WHERE state = 'scheduled' AND next_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS executions (
  execution TEXT PRIMARY KEY,
  instance TEXT NOT NULL,
  last_at INTEGER NOT NULL,
  max_sequence INTEGER NOT NULL,
  count INTEGER NOT NULL,
  -- The highest sequence that retention deleted. Up to it, what is missing stands in `holes`, and
  -- what stands neither there nor in `events` was there.
  forgotten INTEGER NOT NULL DEFAULT 0,
  clashes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS executions_flawed ON executions (last_at)
  WHERE max_sequence > count OR clashes > 0;

-- Sequences that were missing when retention passed them, or when somebody acknowledged that they
-- are, both ends included.
CREATE TABLE IF NOT EXISTS holes (
  execution TEXT NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (execution, first)
) WITHOUT ROWID;

-- Executions without events, which are known for a while longer: one may be delivered again. Of
-- one that its instance goes on with, the time is when that was last seen.
CREATE TABLE IF NOT EXISTS endings (
  execution TEXT PRIMARY KEY,
  last_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS endings_time ON endings (last_at);

-- The proof that an instance was erased: the SHA-256 of its ID, when its last byte was gone (NULL
-- until then), and how many events that were.
CREATE TABLE IF NOT EXISTS erasures (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL,
  done INTEGER,
  events INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS erasures_digest ON erasures (digest);

-- Erased events by their number of arrival, which would seem to be there otherwise. Of one without
-- a sequence the SHA-256 of its ID: by it a copy is known.
CREATE TABLE IF NOT EXISTS erased (
  seq INTEGER PRIMARY KEY,
  digest BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS erased_digest ON erased (digest) WHERE digest IS NOT NULL;

CREATE TABLE IF NOT EXISTS counts (
  step INTEGER NOT NULL,
  start INTEGER NOT NULL,
  job TEXT NOT NULL,
  type TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (step, start, job, type)
) WITHOUT ROWID;
-- By it the jobs' names are found one after the other: an hour's rows have them all.
CREATE INDEX IF NOT EXISTS counts_jobs ON counts (job) WHERE step = 3600000;
"""

_ENDED = """state = 'terminated' AND EXISTS (
  SELECT 1 FROM events WHERE events.instance = instances.instance
  AND events.execution IS instances.execution AND events.sequence IS instances.sequence
  AND type = 'job.terminated' AND {})"""
_PLANNED = """CASE job_type
  WHEN 'continuous' THEN raw GLOB '*"max_runs reached after [0-9]*' OR raw GLOB '*"until [0-9]*'
  WHEN 'task' THEN raw GLOB '*"idle for [0-9]*:[0-9]*' END"""
_UPGRADES = {
    # The books of version 1 knew neither that state nor that view of executions.
    1: f"""
DROP INDEX IF EXISTS executions_gaps;
UPDATE instances SET state = 'exhausted'
WHERE {_ENDED.format('''instr(raw, '"Retry exhausted after ') > 0''')};
""",
    # Those of version 2 called a planned end terminated.
    2: f"UPDATE instances SET state = 'completed' WHERE {_ENDED.format(_PLANNED)};",
    # Those of version 3 had words of their own, and knew no pause.
    3: """
UPDATE instances SET last_error = NULL WHERE state NOT IN ('failed', 'retrying', 'exhausted');
UPDATE instances SET base = CASE state
  WHEN 'exhausted' THEN 'failed'
  WHEN 'unknown' THEN 'running'
  WHEN 'failed' THEN CASE job_type
    WHEN 'continuous' THEN 'scheduled' WHEN 'debounce' THEN 'debouncing' ELSE 'idle' END
  ELSE state END;
UPDATE instances SET state = base;
""",
}
_ADDED = {
    "instances": (
        "base TEXT NOT NULL DEFAULT ''",
        "paused_by TEXT",
        "pause_note TEXT",
        "pause_sequence INTEGER",
    ),
    "holes": ("acknowledged INTEGER NOT NULL DEFAULT 0",),
}
"""Columns that the first three versions lacked."""


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; makes the tables where they are missing.

    Raises ValueError where the file is another program's or a later version's.
    """
    make_private(path)
    # Its transactions are begun by hand. It is made in one thread and used in another.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        version = _version(connection)
        if version is None:
            raise ValueError(f"{path} is not a file of this version's collector")
        connection.execute("PRAGMA journal_mode = WAL")
        # An accepted event survives a power cut; grouping makes that cheap.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -131072")
        # 80 MB: copied into the file rarely, a page that changed often is copied once.
        connection.execute("PRAGMA wal_autocheckpoint = 20000")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
        _add_columns(connection)
        for old, commands in _UPGRADES.items():
            if 0 < version <= old:
                _run(connection, commands)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except (sqlite3.Error, ValueError):
        connection.close()
        raise
    return connection


def make_private(path: Path) -> None:
    """Make an empty file, and the folders to it, that only this user can read.

    One that is there stays as it is. SQLite gives its further files the same rights.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _run(connection: sqlite3.Connection, commands: str) -> None:
    """Several commands within the transaction, which a script would end."""
    for command in commands.split(";"):
        connection.execute(command)


def _add_columns(connection: sqlite3.Connection) -> None:
    for table, columns in _ADDED.items():
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for column in columns:
            if column.split()[0] not in present:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def write_nothing_new(connection: sqlite3.Connection) -> None:
    """Write what the file says already, which shows whether it can be written."""
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection) -> int | None:
    """0 of an empty file, None of one that is not ours or of a later version."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION:
        return version if version <= VERSION else None
    if application:
        return None
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    # Version 1 did not say what it was, but nobody else has all of these.
    if version == 1 and tables > {"events", "instances", "executions", "counts", "events_time"}:
        return 1
    return None if tables or version else 0


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, and makes no file where it is gone."""
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA cache_size = -16384")
    connection.row_factory = sqlite3.Row
    return connection
