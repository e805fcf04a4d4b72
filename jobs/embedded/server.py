"""A Temporal server for one development session or test run."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from .binary import Binary, find_binary
from .command import Ports
from .environment import client_environment
from .errors import EmbeddedServerError, PortTaken
from .existing import find_existing
from .own import Options, OwnServer
from .ports import free_port

_START_TRIES = 3


class EmbeddedServer:
    """A Temporal dev server on 127.0.0.1, as an async context manager.

    `data` is its SQLite file, kept; without one a temporary file is used and removed. `port` and
    `ui_port` are free ones where not given (`ui_port` is `port + 1000` beside a given port). `log`
    is the file its output is appended to. `reuse` allows a server that runs already, at
    TEMPORAL_ADDRESS or 127.0.0.1:7233, which is never stopped. `config` are further dynamic
    config values, as JSON. A start that takes longer than `within` seconds fails.

    Once started, `target` is its address, `ui_url` that of its UI, `source` says in words which
    server or executable was found, and `environment` holds the environment variables for a
    process whose clients shall use this server.
    """

    target: str
    ui_url: str | None
    source: str
    environment: dict[str, str]

    def __init__(
        self,
        *,
        data: Path | None = None,
        port: int | None = None,
        ui: bool = True,
        ui_port: int | None = None,
        namespace: str = "default",
        log: Path | None = None,
        reuse: bool = False,
        config: Mapping[str, str] | None = None,
        within: float = 30.0,
    ) -> None:
        self.namespace: str = namespace
        self._port, self._ui, self._ui_port, self._reuse = port, ui, ui_port, reuse
        self._options = Options(data, log, namespace, dict(config or {}), within)
        self._server: OwnServer | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The process ID, None for a server that ran already."""
        return self._server.pid if self._server else None

    @property
    def running(self) -> bool:
        """False once a server of our own has ended, by whatever."""
        return self._server is None or self._server.running

    async def ended(self) -> None:
        """Wait until a server of our own has ended, by whatever; for ever for another one."""
        await (self._server.ended() if self._server else asyncio.Event().wait())

    async def start(self) -> None:
        """Find or start a server; returns when the namespace answers.

        Raises EmbeddedServerError where none can be started, and TemporalUnreachable where `reuse`
        is allowed and the server that TEMPORAL_ADDRESS names does not answer.
        """
        if self._reuse and (found := await find_existing()):
            self.target = found.target
            self.namespace = found.namespace
            self.ui_url, self.source = found.ui_url, found.source
            self.environment = found.environment
            return
        binary = await find_binary()
        self._server = await self._start_own(binary)
        self.target, self.ui_url = self._server.target, self._server.ui_url
        self.source = binary.source
        self.environment = client_environment(self.target, self.namespace)

    async def stop(self) -> None:
        """End the server if it is our own. What was temporary is removed."""
        server, self._server = self._server, None
        if server:
            await server.stop()

    async def kill(self) -> None:
        """SIGKILL, as in a crash. The database stays for `restart`."""
        self._own().kill()

    async def restart(self) -> None:
        """Start again, after `kill` or not, on the same database and ports."""
        server = self._own()
        server.kill()
        await server.start()

    def _own(self) -> OwnServer:
        if self._server is None:
            raise EmbeddedServerError("This server was not started here, or is stopped.")
        return self._server

    async def _start_own(self, binary: Binary) -> OwnServer:
        for attempt in range(1, _START_TRIES + 1):
            server = OwnServer(binary, self._choose_ports(), self._options)
            try:
                await server.start()
            except PortTaken:
                await server.stop()
                # Between our look and the server's, another process can take a free port.
                if self._port or self._ui_port or attempt == _START_TRIES:
                    raise
            except BaseException:
                await server.stop()
                raise
            else:
                return server
        raise AssertionError("the last attempt returns or raises")

    def _choose_ports(self) -> Ports:
        port = self._port or free_port()
        if not self._ui:
            return Ports(port, None)
        return Ports(port, self._ui_port or (port + 1000 if self._port else free_port()))
