"""The event loop that blocking calls run in: one for each process, in a thread of its own."""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeVar

from ..errors import JobsError

T = TypeVar("T")

_LONGEST_END = 1.0  # seconds
_LOOK_EVERY = 0.5


class Wait(Protocol):
    """Makes a call and blocks until it is done."""

    def __call__(self, call: Coroutine[Any, Any, T], /) -> T:
        """What the call gives."""
        ...


def wait(call: Coroutine[Any, Any, T]) -> T:
    """Make a call in the background and block until it is done.

    Whoever is interrupted meanwhile (Ctrl-C, a time limit, a handler's end) cancels the call.

    Raises:
        JobsError: this thread runs an event loop, is none (gevent), or the process ends.
    """
    try:
        _refuse_in_event_loop()
        running = _background.start()
    except JobsError:
        call.close()
        raise
    calling = asyncio.run_coroutine_threadsafe(call, running.loop)
    try:
        # In between, Python raises what another thread has in store: a handler is cancelled so.
        while not futures.wait([calling], _LOOK_EVERY).done:
            pass
        return calling.result()
    except BaseException:
        calling.cancel()
        if calling.cancelled() and running.stop.is_set():
            _end_with_the_process()
        raise


def each(items: AsyncIterator[T]) -> Iterator[T]:
    """What an async iterator gives, one after another, each waited for."""

    async def some() -> list[T]:
        async for item in items:
            return [item]
        return []

    while found := wait(some()):
        yield from found


def _refuse_in_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise JobsError(
        "SyncJobClient blocks, and this thread runs an event loop, which would stand still. "
        "Use JobClient here and await its calls, or call from a thread: asyncio.to_thread(...)."
    )


@dataclass(frozen=True, slots=True)
class _Running:
    """What is known of the loop once it runs."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread: threading.Thread
    thread_id: int

    def end(self) -> None:
        """Cancel what is under way, and close the loop."""
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(_LONGEST_END)


@dataclass(slots=True)
class _Background:
    """Starts the loop when it is first needed, and ends it with the process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    running: _Running | None = None
    ended: bool = False

    def start(self) -> _Running:
        """The loop of this process; raises `JobsError` where there are no real threads."""
        with self.lock:
            if self.running is None and not self.ended:
                self.running = _started()
            running = self.running
        return running or _end_with_the_process()

    def end(self) -> None:
        """Cancel what is under way, and close the loop."""
        with self.lock:
            running, self.running, self.ended = self.running, None, True
        if running is not None:
            running.end()


def _started() -> _Running:
    ready: Future[_Running] = Future()
    # A daemon: the interpreter waits for other threads before it comes to `_end`.
    thread = threading.Thread(target=lambda: asyncio.run(_run(ready, thread)), daemon=True)
    thread.name = "durable-jobs-sync"
    thread.start()
    running = ready.result()
    if running.thread_id == threading.get_native_id():
        running.end()
        raise JobsError(
            "SyncJobClient needs real threads, which gevent or eventlet has replaced here. "
            "Use workers that are threads or processes."
        )
    return running


async def _run(ready: Future[_Running], thread: threading.Thread) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    ready.set_result(_Running(loop, stop, thread, threading.get_native_id()))
    await stop.wait()


def _end_with_the_process() -> NoReturn:
    """The process ends, and its daemon threads with it: they must not print what comes of that."""
    if threading.current_thread().daemon:
        threading.Event().wait()
    raise JobsError("This process is about to end: SyncJobClient makes no more calls.")


_background = _Background()
_inherited: list[_Background] = []


def _begin_anew() -> None:
    """In a forked process: no thread has come along, and whoever held the lock is gone.

    The parent's loop is kept: closing it would take what it watches from the parent as well.
    """
    global _background
    _inherited.append(_background)
    _background = _Background()


def _end() -> None:
    _background.end()


# Runs before what `durable_jobs.exits` has registered, and after what users register.
atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
