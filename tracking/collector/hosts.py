"""Under which names the collector may be reached.

A page that a browser loaded from elsewhere can have its own name resolved to the loopback, and then
reads what the loopback answers. The `Host` that the browser sends gives it away.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(:\d*)?")
_SHOWN = 100  # characters


class Hosts:
    """Judges where a request says that it was sent, and which page sent it.

    Addresses are always right, as is `localhost`: no foreign page has such a name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(map(plain_name, names))

    def problem(self, headers: Mapping[str, str]) -> str | None:
        """What is wrong with `Host` or `Origin`; None where nothing is."""
        # Only HTTP/1.0 knows requests without it, and no browser speaks that.
        host = headers.get("host")
        if host is not None and not self._is_ours(host):
            return (
                f"this collector is not known as {host[:_SHOWN]!r}; if it is to be, start it with"
                " --name and that name, or with DURABLE_JOBS_COLLECTOR_NAMES"
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_own_page(origin, host):
            return f"pages of {origin[:_SHOWN]!r} may ask nothing here"
        return None

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = plain_name(match[1].strip("[]"))
        return name == "localhost" or name in self._names or _is_address(name)

    def _is_own_page(self, origin: str, host: str | None) -> bool:
        try:
            parts = urlsplit(origin)
            name = plain_name(parts.hostname or "")
        except ValueError:
            return False
        # A proxy may have changed the host, and a name that was given is ours at any port.
        return parts.netloc.lower() == (host or "").lower() or name in self._names


def plain_name(name: str) -> str:
    """A host's name without what makes no difference."""
    return name.lower().removesuffix(".")


def is_name(name: str) -> bool:
    """Whether it is a host's name or address, with no scheme and no port."""
    plain = plain_name(name)
    return _is_address(plain) or _NAME.fullmatch(plain) is not None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
