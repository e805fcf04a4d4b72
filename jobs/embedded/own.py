"""A server process of our own: its files, its start, its end."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .binary import Binary
from .command import Ports, start_command
from .environment import server_environment
from .errors import EmbeddedServerError, PortTaken
from .ports import LOOPBACK, listens
from .process import ChildProcess
from .ready import answers

_POLL = 0.02  # seconds


@dataclass(frozen=True)
class Options:
    """What a user asked for; `within` is the limit for a start, in seconds."""

    data: Path | None
    log: Path | None
    namespace: str
    config: Mapping[str, str]
    within: float


class OwnServer:
    """One database on two ports, served by one process at a time."""

    def __init__(self, binary: Binary, ports: Ports, options: Options) -> None:
        self.target: str = f"{LOOPBACK}:{ports.main}"
        self.ui_url: str | None = f"http://{LOOPBACK}:{ports.ui}" if ports.ui else None
        self._binary, self._ports, self._options = binary, ports, options
        self._folder = Path(tempfile.mkdtemp(prefix="durable-jobs-"))
        self._process: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """The process ID, None before the first start."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """False before the start and once the process has ended, by whatever."""
        return self._process is not None and self._process.exit_code is None

    async def start(self) -> None:
        """Start it and wait until the namespace answers."""
        for port in filter(None, (self._ports.main, self._ports.ui)):
            if listens(port):
                raise PortTaken(_TAKEN.format(address=f"{LOOPBACK}:{port}"))
        data = self._options.data or self._folder / "temporal.db"
        data.parent.mkdir(parents=True, exist_ok=True)
        command = start_command(
            self._binary, self._ports, data, self._options.namespace, self._options.config
        )
        log = self._options.log or self._folder / "temporal.log"
        self._process = ChildProcess(command, environment=server_environment(), log=log)
        await self._wait_until_ready(self._process)

    async def ended(self) -> None:
        """Wait until the process has ended, by whatever."""
        if self._process:
            await self._process.ended()

    def kill(self) -> None:
        """SIGKILL, as in a crash. The database stays."""
        if self._process:
            self._process.kill()

    async def stop(self) -> None:
        """End it and remove what was temporary."""
        try:
            # A temporary database needs no orderly end, which takes 1.4 s.
            if self._process and self._options.data:
                await self._process.stop()
        finally:
            self.kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _wait_until_ready(self, process: ChildProcess) -> None:
        within = self._options.within
        deadline = time.monotonic() + within
        while not await answers(self.target, self._options.namespace):
            if process.exit_code is not None:
                raise self._failure(process, f"ended with code {process.exit_code}")
            if time.monotonic() > deadline:
                raise self._failure(process, f"did not answer within {within:g} s")
            await asyncio.sleep(_POLL)

    def _failure(self, process: ChildProcess, what: str) -> EmbeddedServerError:
        tail = process.log_tail()
        kind = PortTaken if "address already in use" in tail else EmbeddedServerError
        source = self._binary.source
        return kind(f"Temporal ({source}) {what} on {self.target}. Its log ends with:\n{tail}")


_TAKEN = (
    "Cannot start Temporal: something already listens on {address}. "
    "Stop it, or choose another port."
)
