"""The Temporal server that all tests of a process share, and the event loop of their workers."""

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio.client import Client

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.errors import JobsError

_T = TypeVar("_T")

_SKIPS_TIME = {"frontend.WorkflowTimeSkippingEnabled": "true"}
_LAST_WAIT = 10.0  # seconds


class Background:
    """An event loop in a thread of its own, and a server that starts with the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: EmbeddedServer | None = None

    def run(self, call: Coroutine[Any, Any, _T]) -> _T:
        """Make a call in the loop, and block until it is done."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not None and running is self._loop:
            raise JobsError("A handler cannot drive the server that it runs on: use run.jobs.")
        return asyncio.run_coroutine_threadsafe(call, self._started()).result()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="durable-jobs-testing", daemon=True
                ).start()
            return self._loop

    def server(self) -> EmbeddedServer:
        """The server, started where it was not.

        Raises:
            EmbeddedServerError: none can be started.
        """
        if self._server is None:
            server = EmbeddedServer(ui=False, config=_SKIPS_TIME)
            self.run(server.start())
            self._server = server
        return self._server

    def client(self, **options: Any) -> Client:
        """A client on the server."""
        return self.run(Client.connect(self.server().target, **options))

    def stop(self) -> None:
        """Stop the server. The next use starts another one."""
        server, self._server = self._server, None
        if server is not None:
            self.run(asyncio.wait_for(server.stop(), _LAST_WAIT))


background: Background = Background()
atexit.register(background.stop)
