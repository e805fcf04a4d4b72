"""The sink that POSTs batches to a collector."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from durable_jobs.tracking.wire import WireEvent, encode

from .base import (
    DEFAULT_BATCH_SIZE,
    Accepted,
    Misconfigured,
    Refused,
    RetryLater,
    SendResult,
    TooLarge,
)
from .signing import message_id, signed_headers, signing_key

if TYPE_CHECKING:
    import httpx

MAX_RETRY_AFTER = timedelta(hours=1)

# A collector that answers more than this is not naming rejected events.
_MAX_ANSWER_BYTES = 256_000
# Closed lists: what else a collector answers in the 400s is about an event.
_RETRIED = frozenset({408, 429})
_MISCONFIGURED = frozenset({401, 403, 404})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class HttpSink:
    """POSTs `{"events": [ … ]}` to `url`, with `headers`, at most `batch_size` events a request.

    `timeout` bounds one whole request. With `secret` (`whsec_…`) requests are signed as Standard
    Webhooks says. Redirects are not followed. Raises `ValueError` for a wrong argument.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        timeout: timedelta = timedelta(seconds=10),
        secret: str | None = None,
    ) -> None:
        self._where = _origin(url)
        self._url = url
        self._headers = _checked(headers or {})
        if batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        if timeout <= timedelta():
            raise ValueError("timeout must be more than 0")
        self.batch_size = batch_size
        self._timeout = timeout.total_seconds()
        self._key = signing_key(secret) if secret else None
        self._lock = threading.Lock()
        self._client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    def __repr__(self) -> str:
        # Headers, secret, path and query can hold credentials.
        return f"HttpSink({self._where!r}, batch_size={self.batch_size})"

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """POST one batch once. Raises `ValueError` if an event is not JSON."""
        body = b'{"events":[' + b",".join(map(encode, events)) + b"]}"
        client = await self._connected()
        import httpx

        until = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(until):
                response = await self._post(client, body, events)
        except (TimeoutError, httpx.TimeoutException):
            return RetryLater(f"{self._where} did not answer within {self._timeout:g} s")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return Misconfigured(f"{self._where}: {error}")
        except httpx.HTTPError as error:
            text = str(error).rstrip(".") or type(error).__name__
            return RetryLater(f"{self._where}: {text}")
        answer = await _body_of(response, until)
        return self._judge(response.status_code, response.headers, answer)

    async def close(self) -> None:
        """Close the connections; a later `send` opens new ones."""
        owned, self._client = self._client, None
        if owned and owned[0] is asyncio.get_running_loop():
            await owned[1].aclose()

    async def _connected(self) -> "httpx.AsyncClient":
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            # Importing httpx and reading CA certificates takes 0.2 s: not on the loop.
            return await asyncio.to_thread(self._connect, loop)
        return self._client[1]

    def _connect(self, loop: asyncio.AbstractEventLoop) -> "httpx.AsyncClient":
        import httpx

        with self._lock:
            if self._client is None or self._client[0] is not loop:
                limits = httpx.Limits(max_connections=16, keepalive_expiry=30)
                timeout = httpx.Timeout(self._timeout)
                # Without TLS there is nothing to verify, and no certificates to read. To a proxy
                # there may be: that is httpx's own context.
                client = httpx.AsyncClient(
                    limits=limits,
                    timeout=timeout,
                    follow_redirects=False,
                    verify=not self._where.startswith("http:"),
                )
                self._client = (loop, client)
            return self._client[1]

    async def _post(
        self, client: "httpx.AsyncClient", body: bytes, events: Sequence[WireEvent]
    ) -> "httpx.Response":
        headers = {"user-agent": "durable-jobs", "accept-encoding": "identity", **self._headers}
        headers["content-type"] = "application/json"
        if self._key:
            message = message_id(str(event.get("eventId")) for event in events)
            headers |= signed_headers(self._key, message, int(time.time()), body)
        request = client.build_request("POST", self._url, content=body, headers=headers)
        return await client.send(request, stream=True)

    def _judge(self, status: int, headers: Mapping[str, str], answer: bytes) -> SendResult:
        # The answer's text is left out: it may quote event data.
        message = f"{self._where} answered {_named(status)}"
        if 200 <= status < 300:
            return Accepted(dict.fromkeys(_rejected(answer), f"{message} and named it rejected"))
        if status in _MISCONFIGURED or 300 <= status < 400:
            return Misconfigured(message)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge(message)
        if status in _RETRIED or status >= 500:
            return RetryLater(message, parse_retry_after(headers.get("retry-after")))
        return Refused(message)


def parse_retry_after(value: str | None) -> timedelta | None:
    """A `Retry-After` header, seconds or an HTTP date, as a wait of 0 to 1 h.

    None where there is none or it cannot be read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value)
    # A NaN is smaller than nothing: it compares false.
    return (
        timedelta(seconds=min(seconds, MAX_RETRY_AFTER.total_seconds())) if seconds >= 0 else None
    )


def _until(value: str) -> timedelta | None:
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    wait = when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)
    return min(max(wait, timedelta()), MAX_RETRY_AFTER)


async def _body_of(response: "httpx.Response", until: float) -> bytes:
    """The answer's body; nothing where it is too long or cannot be read: the status decides."""
    import httpx

    answer = b""
    try:
        async with asyncio.timeout_at(until):
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MAX_ANSWER_BYTES:
                    return b""
    except (TimeoutError, httpx.HTTPError):
        return b""
    finally:
        await response.aclose()
    return answer


def _rejected(answer: bytes) -> list[str]:
    try:
        data = json.loads(answer)
    except (ValueError, RecursionError):
        return []
    match data:
        case {"rejected": [*ids]}:
            return [item for item in ids if isinstance(item, str)]
        case _:
            return []


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _origin(url: str) -> str:
    """Scheme, host and port, for messages: the rest of a URL can hold credentials."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the tracking URL cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the tracking URL must be like https://host/path")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the tracking header {name!r} is not a valid HTTP header")
    return {name.lower(): value for name, value in headers.items()}
