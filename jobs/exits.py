"""A clean end for processes that used Temporal's SDK, and for those forked from them.

The SDK gives an answer to an event loop from a thread of its own, by `call_soon_threadsafe`. Where
the interpreter begins to shut down while such a thread is still in there, Python ends the thread
in the midst of Rust code, which takes the process with it (temporalio/sdk-python issue 300). A
script that ends right after its last call meets this in one run of five. So the process waits,
before that, until those threads have come out: that takes microseconds.

An interpreter drops the SDK's runtime at its very end, which waits for the runtime's threads. One
with a late answer, of a call that was cancelled, waits for the interpreter meanwhile: neither ever
ends. In a forked process those threads do not even exist. So a runtime is never dropped.
"""

import atexit
import os
import sys
import time
from types import FrameType

from temporalio.client import Client
from temporalio.runtime import Runtime

_LONGEST_WAIT = 1.0  # seconds
_LOOK_EVERY = 0.0005

_runtimes: list[Runtime] = []


def settle() -> None:
    """Wait until no thread of the SDK runs Python code any more; for a second at most."""
    give_up = time.monotonic() + _LONGEST_WAIT
    while answers_under_way() and time.monotonic() < give_up:
        time.sleep(_LOOK_EVERY)


def _end() -> None:
    settle()
    _keep_runtimes()


def answers_under_way() -> int:
    """How many threads that Python did not start are handing something to an event loop."""
    outermost = (_outermost(frame) for frame in sys._current_frames().values())  # pyright: ignore[reportPrivateUsage]
    return sum(frame.f_code.co_name == "call_soon_threadsafe" for frame in outermost)


def _outermost(frame: FrameType) -> FrameType:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


def note_runtime(client: Client) -> None:
    """Note what a connected client runs on, for the end of this process and for its forks."""
    # Loaded here for `never_drop`: at the very end and in a fork it is too late for that.
    import ctypes  # noqa: F401 # pyright: ignore[reportUnusedImport]

    runtime = client.service_client.config.runtime or Runtime.default()
    if runtime not in _runtimes:
        _runtimes.append(runtime)


def never_drop(runtime: Runtime) -> None:
    """Have a runtime outlast the interpreter."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))


def _keep_runtimes() -> None:
    while _runtimes:
        never_drop(_runtimes.pop())


# At exit, it follows what is registered later: an end of a user's own may still make calls.
atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_runtimes)
