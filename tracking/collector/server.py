"""The collector as a server in this process."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import uvicorn

from ._protocol import ImpatientProtocol
from .app import Show, create_app
from .hosts import is_name
from .retention import Clock, forget_step
from .settings import CollectorSettings
from .store import Store
from .stream import News

_SWEEP = 30.0  # seconds between two looks for old events
_BETWEEN = 0.05  # seconds between two steps, which intake gets

_log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to the command that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def collecting(
    settings: CollectorSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    show: Show | None = None,
) -> AsyncGenerator[str]:
    """Serve on `host`, on a free port if 0, and give the address of the page.

    `show` gets each new event. Raises OSError where the port is taken, ValueError
    where it is none, ValueError or sqlite3.Error where the file cannot be used.
    """
    with _listen(host, port) as listener:
        store, news = Store(settings.database), News()
        server = _Server(_config(store, news, _named(settings, host), show))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        sweeping = asyncio.create_task(_sweep(store, settings.retention))
        try:
            yield f"http://{_shown(host)}:{listener.getsockname()[1]}"
        finally:
            sweeping.cancel()
            news.close()
            server.should_exit = True
            await serving
            await store.close()


def _named(settings: CollectorSettings, host: str) -> CollectorSettings:
    """The settings with the name that it listens under, where that is one."""
    return replace(settings, names=(*settings.names, host)) if is_name(host) else settings


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: without
    # that, each answer on a connection that is kept waits 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # From here on connections wait rather than fail, before the server takes them.
        listener.listen()
    except OverflowError:
        listener.close()
        raise ValueError(f"the port {port} must be from 0 to 65535") from None
    except OSError:
        listener.close()
        raise
    return listener


def _shown(host: str) -> str:
    """The host in an address that a browser on this machine can open."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _config(
    store: Store, news: News, settings: CollectorSettings, show: Show | None
) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(store, news, settings, show),
        lifespan="off",
        ws="none",
        http=ImpatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


async def _sweep(store: Store, retention: timedelta | None) -> None:
    if retention is None:
        return
    clock, kept = Clock(), int(retention.total_seconds() * 1000)
    while True:
        now = clock.now()
        try:
            more = await store.change(partial(forget_step, before=now - kept, now=now))
        except Exception:
            _log.exception("Could not delete old events")
            more = False
        await asyncio.sleep(_BETWEEN if more else _SWEEP)
