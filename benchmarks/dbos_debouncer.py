"""DBOS's `Debouncer` on SQLite. Each event puts its flush off; it is given the last one alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dbos import DBOS, Debouncer

from .measure import WAIT, Board


class Dbos:
    """See `System`."""

    name = "DBOS Debouncer (SQLite)"
    keeps_all = False

    def __init__(self, debouncer: Any, board: Board, at_once: int) -> None:
        self._debouncer = debouncer
        self._slots = asyncio.Semaphore(at_once)
        self.board = board

    async def add(self, key: str, number: int) -> None:
        """See `System`."""
        async with self._slots:
            await self._debouncer.debounce_async(key, WAIT, key, number)

    async def history_of(self, key: str) -> int | None:
        """There is none."""
        return None


@asynccontextmanager
async def dbos(folder: Path, at_once: int) -> AsyncIterator[Dbos]:
    """A DBOS of its own; at most `at_once` calls in flight."""
    board = Board()
    url = f"sqlite:///{folder / 'dbos.sqlite'}"
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )

    @DBOS.workflow()
    async def flush(key: str, number: int) -> None:
        board.note(key, 1)

    DBOS.launch()
    try:
        # As `flush_after` does: whatever comes, it flushes this long after the first event.
        debouncer = Debouncer.create_async(flush, debounce_timeout_sec=WAIT)
        yield Dbos(debouncer, board, at_once)
    finally:
        DBOS.destroy()
