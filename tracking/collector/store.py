"""The file: one thread writes, a few read."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from .intake import Accepted
from .queries import newest
from .schema import open_reader, open_writer, write_nothing_new
from .writing import write

T = TypeVar("T")
Reading: TypeAlias = Callable[[sqlite3.Connection], T]

_WAITING = 500  # requests
_GROUP = 5000  # events in one transaction
_READERS = 3

_log = logging.getLogger(__name__)


class StoreBusy(Exception):
    """More waits to be written than is healthy; to be tried again."""


@dataclass
class _Work:
    """Events to keep, or something else that writes."""

    events: Sequence[Accepted] = ()
    task: Callable[[sqlite3.Connection], Any] | None = None
    apart: Callable[[sqlite3.Connection], None] | None = None
    """Is called after the transaction, in none."""

    done: "Future[Any]" = field(default_factory=lambda: Future[Any]())


class Store:
    """Takes events and answers queries. Requests that wait together share a transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_writer(path)
        self._file = _identity(path)
        self._queue: queue.Queue[_Work | None] = queue.Queue(_WAITING)
        self._writer = threading.Thread(target=self._write, name="collector-writer", daemon=True)
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="collector-reader")
        self._writer.start()

    async def add(self, events: Sequence[Accepted]) -> list[Accepted]:
        """Keep events; gives those that are new, once they are safe on disk.

        Raises StoreBusy, or sqlite3.Error where the file cannot be written.
        """
        return await self._put(_Work(events=events))

    async def change(self, task: Callable[[sqlite3.Connection], T]) -> T:
        """Run `task` in a transaction of its own."""
        return await self._put(_Work(task=task))

    async def apart(self, task: Callable[[sqlite3.Connection], None]) -> None:
        """Run `task` in no transaction, while nothing is written."""
        await self._put(_Work(apart=task))

    async def read(self, reading: Reading[T]) -> T:
        """Run a query in a reader's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, reading)

    async def check(self) -> None:
        """Raise StoreBusy or sqlite3.Error where the file cannot be written and read."""
        await self.change(write_nothing_new)
        await self.read(newest)

    async def close(self) -> None:
        """Write what waits, then close the file."""
        await asyncio.to_thread(self._close)

    async def _put(self, work: _Work) -> Any:
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            raise StoreBusy("too much waits to be written") from None
        # A sender that goes away does not stop what was begun.
        return await asyncio.shield(asyncio.wrap_future(work.done))

    def _read(self, reading: Reading[T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_reader(self.path)
            self._opened.append(connection)
        return reading(connection)

    def _close(self) -> None:
        self._queue.put(None)
        self._writer.join()
        self._readers.shutdown()
        for connection in (*self._opened, self._connection):
            connection.close()

    def _write(self) -> None:
        while (work := self._queue.get()) is not None:
            group, ended = [work], False
            while sum(len(item.events) for item in group) < _GROUP and not self._queue.empty():
                following = self._queue.get_nowait()
                if following is None:
                    ended = True
                    break
                group.append(following)
            self._commit(group)
            if ended:
                return

    def _commit(self, group: list[_Work]) -> None:
        """Write all of a group or none of it."""
        results: list[Any] = []
        try:
            if _identity(self.path) != self._file:
                # What is written to a deleted file is lost when this process ends.
                raise sqlite3.OperationalError(f"{self.path} is gone; start the collector again")
            self._connection.execute("BEGIN IMMEDIATE")
            results = self._run(group)
            self._connection.execute("COMMIT")
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            _log.exception("Could not write to %s", self.path)
            for work in group:
                work.done.set_exception(error)
            return
        for work, result in zip(group, results, strict=True):
            if work.apart is None:
                work.done.set_result(result)
        self._do_apart([work for work in group if work.apart is not None])

    def _do_apart(self, group: list[_Work]) -> None:
        for work in group:
            assert work.apart is not None
            try:
                work.apart(self._connection)
            except Exception as error:
                _log.exception("Could not write to %s", self.path)
                work.done.set_exception(error)
            else:
                work.done.set_result(None)

    def _run(self, group: list[_Work]) -> list[Any]:
        new = write(self._connection, (event for work in group for event in work.events))
        fresh = {id(event) for event in new}
        return [
            work.task(self._connection)
            if work.task
            else [event for event in work.events if id(event) in fresh]
            for work in group
        ]


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands there, if any."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
