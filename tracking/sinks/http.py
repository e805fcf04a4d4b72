"""The sink that POSTs batches to a collector."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from durable_jobs.spans import is_span
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
from .headers import checked_headers
from .signing import message_id, signed_headers, signing_key
from .signs import Signs

if TYPE_CHECKING:
    from .posting import Answer

MAX_RETRY_AFTER = timedelta(hours=1)

# Closed lists: what else a collector answers in the 400s is about an event.
_RETRIED = frozenset({408, 429})
_MISCONFIGURED = frozenset({401, 403, 404})


class HttpSink:
    """POSTs `{"events": [ … ]}` to `url`, with `headers`, at most `batch_size` events a request.

    `timeout` bounds one whole request. With `secret` (`whsec_…`) requests are signed as Standard
    Webhooks says. Redirects are not followed. The environment's proxies and certificates hold
    (`HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`, …), for a collector on this machine no proxy.
    Raises `ValueError` for a wrong argument, or a variable that the HTTP library cannot use.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        timeout: timedelta = timedelta(seconds=10),
        secret: str | None = None,
    ) -> None:
        _check(batch_size, timeout)
        self.batch_size = batch_size
        self._headers = checked_headers(headers or {})
        self._key = signing_key(secret) if secret else None
        # The HTTP library takes 0.2 s to import, which only who sends is to pay.
        from .address import origin_of, read_url
        from .posting import Poster

        read = read_url(url, "the tracking URL")
        self._where = origin_of(read)
        self._poster = Poster(read, timeout)
        self._signs = Signs(self._sign)

    def __repr__(self) -> str:
        # Headers, secret, path and query can hold credentials.
        return f"HttpSink({self._where!r}, batch_size={self.batch_size})"

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """POST one batch once. Raises `ValueError` if an event is not JSON."""
        from .posting import NoAnswer

        body = b'{"events":[' + b",".join(map(encode, events)) + b"]}"
        try:
            answer = await self._poster.post(body, self._headers_of(body, events))
        except NoAnswer as error:
            return RetryLater(f"{self._where}: {error}")
        self._signs.note(answer.sign_every)
        return self._judge(answer)

    async def _sign(self) -> None:
        """Say that this worker lives; what comes of it makes no difference."""
        with contextlib.suppress(Exception):
            await self.send([])

    async def close(self) -> None:
        """Close the connections; a later `send` opens new ones."""
        self._signs.stop()
        await self._poster.close()

    def _headers_of(self, body: bytes, events: Sequence[WireEvent]) -> dict[str, str]:
        # No encoding is asked for, so that no answer can be larger than it looks.
        fixed = {"accept-encoding": "identity", "content-type": "application/json"}
        headers = {"user-agent": "durable-jobs", **self._headers, **fixed, **self._signs.headers}
        if self._key:
            message = message_id(str(event.get("eventId")) for event in events)
            headers |= signed_headers(self._key, message, int(time.time()), body)
        return headers

    def _judge(self, answer: "Answer") -> SendResult:
        status = answer.status
        # The answer's text is left out: it may quote event data.
        message = f"{self._where} answered {_named(status)}"
        if 200 <= status < 300:
            reason = f"{message} and named it rejected"
            return Accepted(dict.fromkeys(_rejected(answer.body), reason))
        if status in _MISCONFIGURED or 300 <= status < 400:
            return Misconfigured(message)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge(message)
        if status in _RETRIED or status >= 500:
            return RetryLater(message, parse_retry_after(answer.retry_after))
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


def _check(batch_size: object, timeout: object) -> None:
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError("batch_size must be a whole number of at least 1")
    if not is_span(timeout):
        raise ValueError("timeout must be a timedelta of more than 0 and at most 10 years")
