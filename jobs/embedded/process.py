"""A child process that does not outlive the process that started it."""

import asyncio
import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class ChildProcess:
    """One running command; its output goes to the end of the file `log`, else where ours goes.

    It has a process group of its own, so that Ctrl-C in a terminal reaches its owner alone, who
    ends it when nobody needs it any more. On Linux the kernel kills it when the thread that
    started it ends, however it ends; elsewhere it is killed when the interpreter exits.
    """

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        self._log = log
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("ab")) if log else None
            self._child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        atexit.register(self._child.kill)

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    async def ended(self) -> int:
        """Wait until it has ended, by whatever; gives the exit code."""
        return await asyncio.to_thread(self._child.wait)

    async def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, and kill it after `grace` seconds."""
        try:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._child.wait, grace)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._child.kill()
        self._child.wait()
        atexit.unregister(self._child.kill)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        text = self._log.read_text(errors="replace") if self._log and self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded here: between fork and exec as little as possible
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return arm
