"""Plain `def` handlers: each runs in a thread, and hears of its cancellation there."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")
_logger = logging.getLogger("durable_jobs")

GRACE_SECONDS = 5.0
"""How long a cancelled handler has to end. Until then no other attempt of its run may begin."""

around_handlers: list[Callable[[], object]] = []
"""Called before and after each plain handler, in its thread. A framework takes care there of what
it keeps per thread, such as connections to a database."""


class ThreadError(Exception):
    """Has as its cause an error of a plain handler's that would not get here as what it is.

    No future takes a `StopIteration`, and a `GeneratorExit` out of one closes whoever awaits it.
    It is the handler's failure like any other: whoever tells of it tells of the cause.
    """


async def in_thread(handler: Callable[..., _T], *args: Any) -> _T:
    """Call a function in a thread; where the caller is cancelled, so is the function.

    `asyncio.CancelledError` is raised in it, between two of its Python instructions: a call into
    C code, such as a long `sleep`, ends first. A thread that does not end within GRACE_SECONDS is
    left behind: it holds up neither other handlers nor the end of the process.
    """
    call = _Call(partial(contextvars.copy_context().run, _surrounded, handler, *args))
    _awaited.add(call)
    try:
        return await _made(call, handler)
    finally:
        _awaited.discard(call)


async def _made(call: "_Call", handler: Callable[..., _T]) -> _T:
    _threads.make(call)
    running = asyncio.wrap_future(call.future)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        call.cancel()
        try:
            await asyncio.wait({running}, timeout=GRACE_SECONDS)
        finally:
            # What comes of it later reaches nobody: the loop may be closed by then.
            left = running.cancel()
        if left:
            name = getattr(handler, "__qualname__", repr(handler))
            _logger.warning("%s did not end when cancelled; its thread is left behind", name)
        elif running.exception() is None:
            return running.result()
        raise


def _surrounded(handler: Callable[..., _T], *args: Any) -> _T:
    _call_all(around_handlers)
    try:
        return handler(*args)
    finally:
        _call_all(around_handlers)


def _call_all(functions: list[Callable[[], object]]) -> None:
    for function in functions:
        function()


class _Call:
    """A call in a thread, while it runs."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._work = work
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._cancelled = False

    def make(self) -> None:
        """Make the call in the thread at hand; what comes of it goes to `future`."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._result())
        except BaseException as error:
            self.future.set_exception(error)

    def _result(self) -> Any:
        with self._lock:
            if self._cancelled:
                raise asyncio.CancelledError
            self._thread = threading.get_ident()
        try:
            return self._work()
        except (StopIteration, GeneratorExit) as error:
            raise ThreadError from error
        finally:
            # From here on the thread may be another call's.
            with self._lock:
                self._thread = None

    def cancel(self) -> None:
        """Raise `CancelledError` in the call, or do not begin it."""
        with self._lock:
            self._cancelled = True
            if self._thread is not None:
                # Not with the module: it takes long to load, and clients need it not.
                import ctypes

                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(asyncio.CancelledError)
                )


class _Threads:
    """A thread for each call under way. An idle one is used again, so that what users keep
    per thread lasts.

    No number bounds them. A worker's slots for activities bound the calls under way, and a thread
    left behind must not take the place of another. They are daemons: an interpreter that ends
    would wait for those of a `ThreadPoolExecutor`.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def make(self, call: _Call) -> None:
        """Make a call. Raises RuntimeError where the system gives no further thread."""
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._serve, name="durable-jobs", daemon=True).start()
        self._calls.put(call)

    def _serve(self) -> None:
        while True:
            self._calls.get().make()
            self._idle.release()


_threads = _Threads()
_awaited: set[_Call] = set()


def calls_under_way() -> int:
    """How many plain handlers run in their threads now, and are waited for."""
    return len(_awaited)
