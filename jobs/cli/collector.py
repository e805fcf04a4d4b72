"""`durable-jobs collector`."""

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import typer

from ..signals import stop_on_signals
from .leave import complain, leave
from .spans import parse_duration

_WRONG_INPUT = 2


@dataclass(frozen=True)
class Plan:
    """The options of the command."""

    database: Path
    host: str
    port: int
    token: str | None
    secret: str | None
    retention: str | None
    temporal_ui: str | None
    names: tuple[str, ...]
    erase_token: str | None


def collect(plan: Plan) -> NoReturn:
    """Run until a signal comes, then end the process."""
    leave(asyncio.run(_collect(plan)))


async def _collect(plan: Plan) -> int:
    try:
        from durable_jobs.tracking.collector import CollectorSettings, collecting
    except ModuleNotFoundError as error:
        complain(f"{error.name} is missing; install it with: pip install 'durable-jobs[collector]'")
        return _WRONG_INPUT
    stop = asyncio.Event()
    try:
        settings = CollectorSettings(
            plan.database,
            token=plan.token,
            secret=plan.secret,
            erase_token=plan.erase_token,
            retention=parse_duration("--retention", plan.retention) if plan.retention else None,
            temporal_ui=plan.temporal_ui or None,
            names=plan.names,
        )
        with stop_on_signals(stop):
            async with collecting(settings, host=plan.host, port=plan.port) as address:
                typer.echo(f"Page at {address}, events go to {address}/events")
                await stop.wait()
                typer.echo("Stopping")
    except ValueError as error:
        complain(error)
        return _WRONG_INPUT
    except (OSError, sqlite3.Error) as error:
        complain(f"the collector ended: {error}")
        return 1
    return 0
