"""`durable-jobs dev`: Temporal, a worker and the collector in one terminal."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import typer

from ..embedded import EmbeddedServer, EmbeddedServerError
from ..embedded.errors import PortTaken
from ..errors import TemporalUnreachable
from ..signals import stop_on_signals
from .addresses import CannotListen
from .children import WorkerProcess, changes_of_code
from .leave import complain, leave
from .lines import colours_wanted, event_line, width_of

_DEFAULT_PORT = 7233
# What a worker may take after its grace time, for attempts that ignore their cancellation.
_AFTER_GRACE = 7.0  # seconds


@dataclass(frozen=True)
class Plan:
    """The options of the command; `grace` in seconds."""

    jobs: tuple[str, ...]
    port: int | None
    ui_port: int | None
    data: Path
    collector_port: int
    worker_options: tuple[str, ...]
    grace: float
    reload: bool


class _Ended(Exception):
    """A part ended by itself. The message says what to do, `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def develop(plan: Plan) -> NoReturn:
    """Run until a signal comes or a part ends, stop all parts, end the process."""
    leave(asyncio.run(_develop(plan)))


async def _develop(plan: Plan) -> int:
    stop = asyncio.Event()
    with stop_on_signals(stop):
        parts = asyncio.create_task(_run(plan))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({parts, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not parts.done():
            typer.echo("Stopping")
            parts.cancel()
        try:
            await parts
        except asyncio.CancelledError:
            return 0
        except _Ended as end:
            complain(end)
            return end.code
        except (
            EmbeddedServerError,
            TemporalUnreachable,
            OSError,
            sqlite3.Error,
            ValueError,
        ) as error:
            complain(error)
            return 1
    return 0


async def _run(plan: Plan) -> None:
    """Start the parts in the order in which they need each other, and wait for an end."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_serving(plan))
        page = await stack.enter_async_context(_collector(plan, server))
        _announce(plan, server, page)
        worker = await stack.enter_async_context(_worker(plan, server, f"{page}/events"))
        working = asyncio.create_task(_work(worker, plan))
        serving = asyncio.create_task(server.ended())
        stack.callback(working.cancel)
        stack.callback(serving.cancel)
        await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not server.running:
            worker.kill()  # it could only wait for the server
            raise _Ended(f"Temporal ended by itself; see {_log(plan)}")
        code = working.result() or 1
        raise _Ended(f"the worker ended by itself with code {code}; see above", code)


@asynccontextmanager
async def _serving(plan: Plan) -> AsyncGenerator[EmbeddedServer]:
    server = _server(plan)
    try:
        await server.start()
    except PortTaken as error:
        raise _Ended(f"{error} The options are --port and --ui-port.") from error
    try:
        yield server
    finally:
        await server.stop()


def _server(plan: Plan) -> EmbeddedServer:
    _log(plan).unlink(missing_ok=True)
    plan.data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return EmbeddedServer(
        data=plan.data,
        port=plan.port or _DEFAULT_PORT,
        ui_port=plan.ui_port,
        log=_log(plan),
        reuse=plan.port is None,
    )


@asynccontextmanager
async def _collector(plan: Plan, server: EmbeddedServer) -> AsyncGenerator[str]:
    try:
        from durable_jobs.tracking.collector import CollectorSettings, collecting
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    colours = colours_wanted(sys.stdout)

    def show(event: dict[str, Any]) -> None:
        line = event_line(event, colours=colours, width=width_of(sys.stdout))
        typer.echo(line, color=colours)

    database = plan.data.with_name(f"{plan.data.stem}-events.db")
    settings = CollectorSettings(database, temporal_ui=server.ui_url)
    serving = collecting(settings, port=plan.collector_port, show=show)
    async with AsyncExitStack() as stack:
        try:
            page = await stack.enter_async_context(serving)
        except OSError as error:
            port = plan.collector_port
            raise CannotListen("127.0.0.1", port, "--collector-port", error) from error
        yield page


@asynccontextmanager
async def _worker(plan: Plan, server: EmbeddedServer, url: str) -> AsyncGenerator[WorkerProcess]:
    command = [sys.executable, "-m", "durable_jobs.cli", "worker", *plan.worker_options]
    for reference in plan.jobs:
        command += ["--jobs", reference]
    environment = {**server.environment, "DURABLE_JOBS_TRACKING_URL": url}
    worker = WorkerProcess(command, environment, plan.grace + _AFTER_GRACE)
    try:
        yield worker
    finally:
        await worker.stop()


async def _work(worker: WorkerProcess, plan: Plan) -> int:
    if not plan.reload:
        return await worker.run()
    try:
        await worker.run_anew(changes_of_code(Path.cwd()))
    except ModuleNotFoundError as error:
        raise _missing(error) from error


def _missing(error: ModuleNotFoundError) -> _Ended:
    return _Ended(f"{error.name} is missing; install it with: pip install 'durable-jobs[dev]'", 2)


def _announce(plan: Plan, server: EmbeddedServer, page: str) -> None:
    lines = [
        f"durable-jobs {version('durable-jobs')}",
        f"  Temporal   {server.target} ({server.source})",
        f"  UI         {server.ui_url or 'none'}",
        f"  collector  {page} (events go to {page}/events)",
    ]
    if server.pid:
        lines.append(f"  data       {plan.data}")
    lines.append(f"  jobs       {', '.join(plan.jobs)}")
    if plan.reload:
        lines.append(f"  reload     at changes of .py files below {Path.cwd()}")
    lines.append("Ctrl-C stops all of this.")
    typer.echo("\n".join(lines))


def _log(plan: Plan) -> Path:
    return plan.data.with_suffix(".log")
