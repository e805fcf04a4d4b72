"""What the environment says about proxies and certificates, as the HTTP library reads it."""

import os
from collections.abc import Generator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from urllib.request import getproxies

import httpx

from .address import is_local, read_url

_SCHEMES = ("http", "https", "socks5", "socks5h")
# A folder, in SSL_CERT_DIR, is read when a connection is made.
_TLS_FILES = ("SSL_CERT_FILE", "SSLKEYLOGFILE")
_LIMITS = httpx.Limits(max_connections=16, keepalive_expiry=30)


def client_for(url: httpx.URL, timeout: float) -> httpx.AsyncClient:
    """A client that reaches `url` by the proxy, and checks certificates, as the environment says.

    A collector on this machine is reached without a proxy. `timeout` is in seconds, for each step
    of a request. Raises `ValueError`, which names the variable that the HTTP library cannot use.
    """
    # Without TLS there is nothing to verify, and no certificates to read. To a proxy
    # there may be: that is httpx's own context.
    verify = url.scheme != "http"
    local = is_local(url)
    if not local:
        _check_proxies()
    try:
        # With a transport of its own the client asks for no proxy.
        transport = httpx.AsyncHTTPTransport(verify=verify, limits=_LIMITS) if local else None
        return httpx.AsyncClient(
            verify=verify,
            limits=_LIMITS,
            transport=transport,
            timeout=httpx.Timeout(timeout),
            follow_redirects=False,
            # What one answer asks to keep must not travel with the next request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
    except OSError as error:
        used = " or ".join(name for name in _TLS_FILES if os.environ.get(name))
        name = used or "the HTTP library's certificates"
        raise ValueError(f"{name} cannot be used: {error}") from error
    except (httpx.InvalidURL, ValueError) as error:
        # All that is left to read: the proxies themselves were checked.
        raise ValueError(
            f"{_spelt('no_proxy')} has an entry that the HTTP library cannot read ({error});"
            " it takes names such as .example.com and addresses such as 10.0.0.1 or ::1"
        ) from error


def _check_proxies() -> None:
    for name, address in _proxies():
        # So does the HTTP library.
        whole = address if "://" in address else f"http://{address}"
        scheme = read_url(whole, name, _SCHEMES).scheme
        if scheme.startswith("socks") and not find_spec("socksio"):
            raise ValueError(f"{name} asks for a SOCKS proxy: pip install 'httpx[socks]'")


def _proxies() -> Generator[tuple[str, str]]:
    """Each proxy that is set, after the name of its variable."""
    found = getproxies()
    if "*" in map(str.strip, found.get("no", "").split(",")):
        return
    for scheme in ("http", "https", "all"):
        if address := found.get(scheme):
            yield _spelt(f"{scheme}_proxy"), address


def _spelt(name: str) -> str:
    """A variable's name as it is in the environment; in lower case it comes first."""
    known = (known for known in (name, *os.environ) if known.lower() == name)
    return next((known for known in known if os.environ.get(known)), f"the system's {name}")
