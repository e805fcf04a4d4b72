"""A Temporal server that runs already."""

import os
from dataclasses import dataclass
from datetime import timedelta

from ..connection import connect
from ..errors import TemporalUnreachable
from .ports import LOOPBACK, listens

_PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True)
class Existing:
    """Where it is, and for people how it was found."""

    target: str
    namespace: str
    ui_url: str | None
    source: str


async def find_existing() -> Existing | None:
    """The server at TEMPORAL_ADDRESS, or else one that answers at 127.0.0.1:7233.

    Raises TemporalUnreachable where TEMPORAL_ADDRESS is set and nothing answers there: whoever
    names a server does not want another one.
    """
    named = os.environ.get("TEMPORAL_ADDRESS")
    if not named and not listens(7233):
        return None
    try:
        client = await connect(timeout=_PATIENCE)
    except TemporalUnreachable:
        if named:
            raise
        return None
    target = client.service_client.config.target_host
    reason = "named by TEMPORAL_ADDRESS" if named else "already running"
    return Existing(target, client.namespace, _ui(target), f"the server at {target}, {reason}")


def _ui(target: str) -> str | None:
    """The dev server's UI listens 1000 ports higher."""
    host, _, port = target.rpartition(":")
    local = host in {"localhost", LOOPBACK} and port.isdigit()
    return f"http://{LOOPBACK}:{int(port) + 1000}" if local and listens(int(port) + 1000) else None
