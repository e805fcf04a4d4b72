"""DBOS's `Debouncer` on SQLite. Each event puts its flush off; it is given the last one alone."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dbos import DBOS, Debouncer

from .load import Board

DBOS_NAME = "DBOS Debouncer"
AT_ONCE = 32


class Dbos:
    """See `System`."""

    name = DBOS_NAME
    keeps_all = False

    def __init__(self, debouncer: Any, board: Board, wait: float) -> None:
        self._debouncer, self._wait = debouncer, wait
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.board = board

    async def add(self, key: str, number: int) -> None:
        """See `System`."""
        async with self._slots:
            await self._debouncer.debounce_async(key, self._wait, key, number)

    def instance(self, key: str) -> None:
        """It leaves no history in Temporal."""


@asynccontextmanager
async def dbos(wait: float) -> AsyncIterator[Dbos]:
    """A DBOS of its own on a new database; at most `AT_ONCE` calls in flight."""
    board = Board()
    with tempfile.TemporaryDirectory() as folder:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{Path(folder) / 'dbos.sqlite'}",
                "run_admin_server": False,
                "log_level": "ERROR",
            }
        )

        @DBOS.workflow()
        async def flush(key: str, number: int) -> None:
            board.note(key)

        DBOS.launch()
        try:
            # As `flush_after` does: whatever comes, it flushes this long after the first event.
            yield Dbos(Debouncer.create_async(flush, debounce_timeout_sec=wait), board, wait)
        finally:
            DBOS.destroy(destroy_registry=True)
