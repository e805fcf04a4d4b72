"""Child processes that end with the demonstration, however it ends."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from .errors import DemoError

ROOT = Path(__file__).resolve().parents[3]
_OWN = ("TEMPORAL_", "DURABLE_JOBS_", "GITHUB_JOBS_")
# A worker gives running attempts 10 s, then 5 s to take notice.
_GRACE = 20.0
_TAIL = 15


class Child:
    """One running process, with its output in a file."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    def check(self) -> None:
        """Raise `DemoError` if the process has ended."""
        if (code := self._process.returncode) is not None:
            raise DemoError(f"the {self.name} ended with exit code {code}")

    def tail(self) -> str:
        """Give the end of its output."""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL:]
        return "\n".join([f"--- {self.name}", *lines])

    async def stop(self) -> None:
        """Ask the process to end; kill it if it does not in time."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def running(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> AsyncGenerator[Child, None]:
    """Run Python with `arguments` from the checkout's root for as long as the block lasts."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            env={**_inherited(), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C is for the demonstration, which then ends its children in order.
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        await child.stop()


def _inherited() -> dict[str, str]:
    """Give the environment without settings that would lead the children elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}


def port_or_free(wanted: int | None) -> int:
    """Give `wanted` where nothing holds it, else a free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port or 0))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no port is free on 127.0.0.1")
