"""Plain `def` handlers: each runs in a thread, and hears of its cancellation there."""

import asyncio
import contextvars
import ctypes
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")
_logger = logging.getLogger("durable_jobs")

# As many as a worker runs activities at a time by default: an attempt's time limit must not pass
# while it waits for a thread. The event loop's own pool has a few.
_threads = ThreadPoolExecutor(max_workers=100, thread_name_prefix="durable-jobs")

GRACE_SECONDS = 5.0
"""How long a cancelled handler has to end. Until then no other attempt of its run may begin."""


class ThreadError(Exception):
    """Has as its cause an error of a plain handler's that would not get here as what it is.

    No future takes a `StopIteration`, and a `GeneratorExit` out of one closes whoever awaits it.
    It is the handler's failure like any other: whoever tells of it tells of the cause.
    """


async def in_thread(handler: Callable[..., _T], *args: Any) -> _T:
    """Call a function in a thread; where the caller is cancelled, so is the function.

    `asyncio.CancelledError` is raised in it, between two of its Python instructions: a call into
    C code, such as a long `sleep`, ends first.
    """
    call = _Call(lambda: handler(*args))
    context = contextvars.copy_context()
    running = asyncio.get_running_loop().run_in_executor(_threads, context.run, call.run)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if not running.done():
            call.cancel()
            await asyncio.wait({running}, timeout=GRACE_SECONDS)
        if running.done() and running.exception() is None:
            return running.result()
        if not running.done():
            _logger.warning("A plain handler did not end when cancelled; its thread is left behind")
        raise


class _Call:
    """A call in a thread, while it runs."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._cancelled = False

    def run(self) -> Any:
        """Make the call, in the thread at hand."""
        with self._lock:
            if self._cancelled:
                raise asyncio.CancelledError
            self._thread = threading.get_ident()
        try:
            return self._work()
        except (StopIteration, GeneratorExit) as error:
            raise ThreadError from error
        finally:
            # From here on the thread is the pool's again.
            with self._lock:
                self._thread = None

    def cancel(self) -> None:
        """Raise `CancelledError` in the call, or do not begin it."""
        with self._lock:
            self._cancelled = True
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(asyncio.CancelledError)
                )
