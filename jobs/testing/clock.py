"""A clock of its own: an event loop in which waiting takes no time."""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ..definitions.threads import calls_under_way
from ..errors import JobsError

_T = TypeVar("_T")

_THREADS_GET = 60.0
"""Real seconds that a plain handler in its thread may take before virtual time goes on."""

_LOOK_EVERY = 0.05  # seconds

_SOCKETS_GET = 0.2
"""Real seconds that real I/O gets before virtual time goes on."""


class Clock:
    """Virtual time, and the event loop whose time it is.

    Where every task waits, time jumps to the next moment at which one goes on. It stands still
    while a plain handler runs in its thread.
    """

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._loop = _Loop()
        self._turn = threading.Lock()

    def now(self) -> datetime:
        """The virtual time."""
        return self._start + timedelta(seconds=self._loop.time())

    def at(self, moment: datetime) -> float:
        """The event loop's time at a moment."""
        return (moment - self._start).total_seconds()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop."""
        return self._loop

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do this, and then all that follows from it now. Returns what it gave.

        In a test that runs in an event loop itself, a thread does it, and the test waits.
        """
        if _running_loop() is self._loop:
            work.close()
            raise JobsError("A handler cannot drive the simulation that it runs in: use run.jobs.")
        return self._beside(lambda: self._run(work))

    def _beside(self, act: Callable[[], _T]) -> _T:
        """A thread runs only one event loop at a time."""
        if _running_loop() is None:
            return act()
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(act).result()

    async def run_from(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The same for whoever must not block: code under test in an event loop of its own."""
        running = asyncio.get_running_loop()
        if running is self._loop:
            return await work
        return await running.run_in_executor(None, self._from_outside, work)

    def _from_outside(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do this now, or where the loop runs: it may be waiting for the very thread that calls."""
        if self._turn.acquire(blocking=False):
            self._turn.release()
            return self._run(work)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while True:
            try:
                return future.result(_LOOK_EVERY)
            except TimeoutError:
                if future.done():
                    raise
            if self._turn.acquire(blocking=False):
                # The loop has stopped meanwhile.
                self._turn.release()
                self._run(asyncio.sleep(0))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop.is_closed():
            work.close()
            raise JobsError("This simulation is closed. Make another one.")
        with self._turn:
            return self._loop.run_until_complete(self._loop.unless_stuck(work))

    def close(self) -> None:
        """End what is still under way."""
        self._beside(self._close)

    def _close(self) -> None:
        with self._turn:
            if self._loop.is_closed():
                return
            if tasks := asyncio.all_tasks(self._loop):
                self._loop.run_until_complete(_end_all(tasks))
            self._loop.close()


forgotten: list[Clock] = []
"""Clocks of simulations that nobody closed."""


def close_forgotten() -> None:
    """Close the clocks that nobody uses any more."""
    while forgotten:
        forgotten.pop().close()


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is what it waited for in all."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self._quiet: asyncio.Future[None] | None = None
        self._doing: asyncio.Task[Any] | None = None
        self._in_executor = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """See base class."""
        return self._virtual

    async def unless_stuck(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do this, and all that can go on then without that time passes.

        Raises:
            JobsError: it waits for what will never happen.
        """
        doing = self._doing = self.create_task(work)
        await asyncio.wait({doing})
        self._doing = None
        if doing.cancelled():
            raise JobsError("What is waited for will never happen, whatever time passes.")
        self._quiet = self.create_future()
        await self._quiet
        return doing.result()

    def idle(self, timeout: float | None) -> None:
        """Nothing is ready: time passes, unless somebody wants to know that it would."""
        if self._quiet is not None:
            waiting, self._quiet = self._quiet, None
            waiting.set_result(None)
        elif timeout is not None:
            self._virtual += timeout
        elif self._doing is not None:
            self._doing.cancel()

    @property
    def threads(self) -> int:
        """Threads at work for this loop, whose results are still to come."""
        return self._in_executor + calls_under_way()

    def run_in_executor(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, executor: Executor | None, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """See base class. Time stands still meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._in_executor += 1
        future.add_done_callback(self._left_executor)
        return future

    def _left_executor(self, _: object) -> None:
        self._in_executor -= 1


class _Selector(selectors.DefaultSelector):
    """Looks for what is ready, and waits for nothing but threads and real I/O."""

    def __init__(self, loop: _Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        """See base class."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self._loop.threads:
            ready = super().select(_THREADS_GET)
        elif len(self.get_map()) > 1:
            # Beside the loop's own way to be woken.
            ready = super().select(_SOCKETS_GET)
        if not ready:
            self._loop.idle(timeout)
        return ready


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _end_all(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
