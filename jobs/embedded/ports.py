"""Ports on 127.0.0.1: a free one, and whether something listens on one."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the range from which operating systems take the ports of outgoing connections. A client
# that keeps calling a stopped server could otherwise be given the server's own port.
_CANDIDATES = range(20_000, 30_000)


def free_port() -> int:
    """A port on which nothing listens now. Raises OSError where there is none."""
    for port in random.sample(_CANDIDATES, 200):
        if _can_bind(port):
            return port
    raise OSError(f"no free port on {LOOPBACK}")


def listens(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
