"""Everything that runs in the demonstration: Temporal, collector, worker, receiver."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from durable_jobs.embedded import EmbeddedServer
from durable_jobs.tracking.collector import CollectorSettings, collecting
from examples.github.store import Store

from .errors import DemoError
from .ledger import Ledger
from .processes import Child, port_or_free, running
from .report import Report

_PORTS = {"temporal": 7233, "ui": 8233, "receiver": 8700, "collector": 8701}

# Seconds where real use has minutes and days.
_PACE = {
    "GITHUB_JOBS_DIGEST_AFTER": "3",
    "GITHUB_JOBS_DIGEST_MAX": "40",
    "GITHUB_JOBS_HEALTH_EVERY": "2",
    "GITHUB_JOBS_FOLLOW_UP_AFTER": "4",
    "GITHUB_JOBS_FOLLOW_UPS": "1",
    "GITHUB_JOBS_STALE_AFTER": "6",
}


@dataclass(frozen=True, slots=True)
class Stack:
    """What is running, and where."""

    receiver: str
    collector: str
    ui: str | None
    temporal: str
    secret: str
    store: Store
    ledger: Ledger
    children: tuple[Child, ...]

    def check(self) -> None:
        """Raise `DemoError` if a part of it has ended."""
        for child in self.children:
            child.check()


@asynccontextmanager
async def everything(report: Report, *, fixed_ports: bool) -> AsyncGenerator[Stack, None]:
    """Start all of it on a fresh folder; stop it all when the block ends."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="github-demo-")))
        server = await stack.enter_async_context(_temporal(folder, fixed_ports))
        report.step(f"Temporal: {server.source}, at {server.target}")
        ledger = Ledger()
        settings = CollectorSettings(folder / "events.db", temporal_ui=server.ui_url)
        at = _port("collector", fixed_ports)
        collector = await stack.enter_async_context(collecting(settings, port=at, show=ledger.note))
        environment, receiver = _environment(folder, server, collector, fixed_ports)
        children = await stack.enter_async_context(_children(folder, environment))
        store = stack.enter_context(Store(folder / "github.db"))
        await _answers(receiver, children)
        report.step(f"receiver at {receiver}, collector at {collector}, worker started")
        yield Stack(
            receiver=receiver,
            collector=collector,
            ui=server.ui_url,
            temporal=server.target,
            secret=environment["GITHUB_JOBS_WEBHOOK_SECRET"],
            store=store,
            ledger=ledger,
            children=children,
        )


def _port(name: str, fixed: bool) -> int:
    return port_or_free(_PORTS[name] if fixed else None)


def _temporal(folder: Path, fixed_ports: bool) -> EmbeddedServer:
    log = folder / "temporal.log"
    if not fixed_ports:
        return EmbeddedServer(data=folder / "temporal.db", log=log)
    port, ui_port = _port("temporal", True), _port("ui", True)
    return EmbeddedServer(data=folder / "temporal.db", port=port, ui_port=ui_port, log=log)


def _environment(
    folder: Path, server: EmbeddedServer, collector: str, fixed_ports: bool
) -> tuple[dict[str, str], str]:
    # An empty profile file, so that one of the user's own has no say.
    profile = folder / "temporal.toml"
    profile.touch()
    port = _port("receiver", fixed_ports)
    environment = {
        **_PACE,
        "TEMPORAL_ADDRESS": server.target,
        "TEMPORAL_NAMESPACE": server.namespace,
        "TEMPORAL_CONFIG_FILE": str(profile),
        "DURABLE_JOBS_TRACKING_URL": f"{collector}/events",
        "DURABLE_JOBS_ENV": "demo",
        "DURABLE_JOBS_SERVICE_KEY": "github",
        "GITHUB_JOBS_DATABASE": str(folder / "github.db"),
        "GITHUB_JOBS_PORT": str(port),
        "GITHUB_JOBS_WEBHOOK_SECRET": secrets.token_hex(16),
    }
    return environment, f"http://127.0.0.1:{port}"


@asynccontextmanager
async def _children(
    folder: Path, environment: dict[str, str]
) -> AsyncGenerator[tuple[Child, ...], None]:
    commands = {
        "worker": ["worker.py", "--jobs", "examples.github.jobs:jobs"],
        "receiver": ["-m", "examples.github.receiver"],
    }
    children: list[Child] = []
    async with AsyncExitStack() as stack:
        for name, command in commands.items():
            child = running(name, command, environment, folder / f"{name}.log")
            children.append(await stack.enter_async_context(child))
        try:
            yield tuple(children)
        except DemoError as error:
            # Their logs go with the folder.
            raise DemoError("\n".join([str(error), *(c.tail() for c in children)])) from error


async def _answers(receiver: str, children: tuple[Child, ...], within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while True:
            for child in children:
                child.check()
            try:
                if (await client.get(f"{receiver}/healthz")).is_success:
                    return
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise DemoError(f"the receiver does not answer after {within:g} s") from error
            await asyncio.sleep(0.05)
