"""SIGTERM and SIGINT as an orderly end."""

import asyncio
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Generator[None]:
    """Set `stop` at the first signal; the second one ends the process as it would otherwise.

    Outside the main thread, and on Windows, signals stay what they are.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def remove() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def on_signal() -> None:
        stop.set()
        remove()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        remove()
