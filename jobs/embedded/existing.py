"""A Temporal server that runs already."""

import os
from dataclasses import dataclass
from datetime import timedelta

from ..connection import DEFAULT_ADDRESS, connect, target_of
from .environment import client_environment
from .ports import LOOPBACK, listens
from .ready import answers

_PATIENCE = timedelta(seconds=5)
_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Existing:
    """Where it is, for people how it was found, and how a client reaches it."""

    target: str
    namespace: str
    ui_url: str | None
    source: str
    environment: dict[str, str]


async def find_existing() -> Existing | None:
    """The server that TEMPORAL_ADDRESS names, or else one that answers at 127.0.0.1:7233.

    Raises TemporalUnreachable where TEMPORAL_ADDRESS is set and nothing answers there: whoever
    names a server does not want another one.
    """
    if not os.environ.get("TEMPORAL_ADDRESS"):
        return await _running_here()
    client = await connect(timeout=_PATIENCE)
    target = target_of(client)
    source = f"the server at {target}, named by TEMPORAL_ADDRESS"
    return Existing(target, client.namespace, ui_of(target), source, dict(os.environ))


async def _running_here() -> Existing | None:
    target, namespace = DEFAULT_ADDRESS, _DEFAULT_NAMESPACE
    if not await answers(target, namespace):
        return None
    source = f"the server that already runs at {target}"
    environment = client_environment(target, namespace)
    return Existing(target, namespace, ui_of(target), source, environment)


def ui_of(target: str) -> str | None:
    """The dev server's UI listens 1000 ports higher."""
    host, _, port = target.rpartition(":")
    local = host in {"localhost", LOOPBACK} and port.isdigit()
    return f"http://{LOOPBACK}:{int(port) + 1000}" if local and listens(int(port) + 1000) else None
