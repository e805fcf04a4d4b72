"""Addresses of collectors and proxies: read once, before anything is sent.

No message quotes an address, as any part of one can hold a credential.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence

import httpx

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
# What machines call themselves in their own table of hosts.
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


class HiddenUrl(httpx.URL):
    """A URL whose text is its origin alone: the HTTP library logs the text at each request."""

    def __str__(self) -> str:
        """Scheme, host and port."""
        return origin_of(self)

    def __repr__(self) -> str:
        """The same: user, password, path and query can hold credentials."""
        return f"HiddenUrl({origin_of(self)!r})"


def read_url(text: object, subject: str, schemes: Sequence[str] = ("http", "https")) -> HiddenUrl:
    """Read an absolute URL with a host. Raises `ValueError`, which begins with `subject`."""
    # Surrogates are not printable either.
    if not isinstance(text, str) or not text.isprintable() or " " in text:
        raise ValueError(
            f"{subject} must be a text without spaces and control characters; write those as %XX"
        )
    try:
        url = HiddenUrl(text)
        named = bool(url.host)
    except (httpx.InvalidURL, UnicodeError):
        # Not as the cause: it quotes.
        raise ValueError(f"{subject} cannot be read; write special characters as %XX") from None
    if url.scheme not in schemes or not named:
        known = ", ".join(f"{scheme}://" for scheme in schemes[:-1])
        raise ValueError(f"{subject} must begin with {known} or {schemes[-1]}:// and name a host")
    if url.fragment or "#" in text:
        raise ValueError(f"{subject} holds a #, behind which nothing is sent; write it as %23")
    _check_host(url, subject)
    return url


def origin_of(url: httpx.URL) -> str:
    """Scheme, host and port."""
    host = url.raw_host.decode("ascii")
    name = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{name}" + (f":{url.port}" if url.port is not None else "")


def is_local(url: httpx.URL) -> bool:
    """Whether the host is this machine, to which no proxy has a way."""
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    address = _address(host)
    # 0.0.0.0 and :: connect to this machine, too.
    return address is not None and (address.is_loopback or address.is_unspecified)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if ":" not in host:
        try:
            # As the system reads it, which takes 127.1 and 0x7f000001 as well.
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    address = ipaddress.IPv6Address(host)
    return address.ipv4_mapped or address


def _check_host(url: httpx.URL, subject: str) -> None:
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError(f"{subject} has a port that is not from 1 to 65535")
    if not _is_host(url.raw_host.decode("ascii")):
        raise ValueError(f"{subject} has a host that can be no host's name or address")


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            # Of the two ways to write a zone the system knows neither.
            return "%" not in host and bool(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    name = host.removesuffix(".")
    return len(name) < 254 and all(map(_LABEL.fullmatch, name.split(".")))
