"""Old events leave in small steps, so that intake never waits for long."""

import sqlite3

STEP = 1000  # events

_DONE = "SELECT 1 FROM events WHERE events.{0} = {1}.{0}"


def forget_step(connection: sqlite3.Connection, before: int, step: int = STEP) -> bool:
    """Delete up to `step` events that came before a time, in a transaction; True: there is more.

    `seq` is the order of arrival, so what is old stands at its beginning.
    """
    query = "SELECT seq, received, instance, execution, sequence FROM events ORDER BY seq LIMIT ?"
    old = [row for row in connection.execute(query, (step,)) if row[1] < before]
    if not old:
        # The hours of what is kept stay, by which filters find it: it may have come late.
        oldest = "SELECT coalesce(min(at), ?) FROM events"
        [kept] = connection.execute(oldest, (before,)).fetchone()
        until = min(before, kept) - 3_600_000
        connection.execute("DELETE FROM counts WHERE start <= ?", (until,))
        return False
    connection.execute("DELETE FROM events WHERE seq <= ?", (old[-1][0],))
    forgotten = [(row[4], row[3]) for row in old if row[3] is not None]
    connection.executemany(
        "UPDATE executions SET forgotten = max(forgotten, ?) WHERE execution = ?", forgotten
    )
    _forget_instances(connection, sorted({row[2] for row in old}))
    _forget_executions(connection, sorted({row[1] for row in forgotten}))
    return len(old) == step


def _forget_instances(connection: sqlite3.Connection, names: list[str]) -> None:
    """Those that are over and have no event left. A quiet poll or task lives on."""
    connection.executemany(
        f"""DELETE FROM instances WHERE instance = ?
        AND (job_type = 'debounce' OR state = 'terminated')
        AND NOT EXISTS ({_DONE.format("instance", "instances")})""",
        [(name,) for name in names],
    )


def _forget_executions(connection: sqlite3.Connection, names: list[str]) -> None:
    """Those without events, unless they go on: the next sequence would look like a gap."""
    connection.executemany(
        f"""DELETE FROM executions WHERE execution = ?
        AND NOT EXISTS ({_DONE.format("execution", "executions")})
        AND NOT EXISTS (SELECT 1 FROM instances WHERE instances.instance = executions.instance
                        AND instances.execution = executions.execution)""",
        [(name,) for name in names],
    )
