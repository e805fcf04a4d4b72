"""POSTs over connections that are kept, with bounds on time and on what is answered."""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import httpx

from .address import HiddenUrl
from .environment import client_for
from .signs import ASKED as SIGNS_ASKED

# An answer with more than this is not naming rejected events: on the wire, and unpacked.
MAX_ANSWER_BYTES = 256_000
# So many pieces are more than an honest sender makes of that; each costs time.
_MAX_PIECES = 2_000
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = 47  # zlib's number for "whichever of the two it is"
_MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is empty where it is too long or cannot be read."""

    status: int
    retry_after: str | None
    body: bytes
    sign_every: str | None = None


class NoAnswer(Exception):
    """No answer came in time, or none at all. The message quotes neither side."""


class Poster:
    """POSTs to one URL, in one event loop after another; `timeout` bounds a whole request.

    Raises `ValueError` where the environment lets no connection be made.
    """

    def __init__(self, url: HiddenUrl, timeout: timedelta) -> None:
        self._url = url
        self._timeout = timeout.total_seconds()
        # Now, so that what is wrong shows at the start.
        self._spare: httpx.AsyncClient | None = self._new_client()
        self._used: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send once, follow no redirect. Raises `NoAnswer`."""
        client = self._client_here()
        request = client.build_request("POST", self._url, content=body, headers=headers)
        # A request makes a plain URL of what it is given.
        request.url = self._url
        until = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(until):
                response = await client.send(request, stream=True)
        except (TimeoutError, httpx.TimeoutException):
            raise NoAnswer(f"did not answer within {self._timeout:g} s") from None
        except httpx.HTTPError as error:
            raise NoAnswer(_reason(error)) from None
        answer = await _body_of(response, until)
        headers = response.headers
        return Answer(
            response.status_code, headers.get("retry-after"), answer, headers.get(SIGNS_ASKED)
        )

    async def close(self) -> None:
        """Close the connections; a later `post` opens new ones."""
        owned, self._used = self._used, None
        if owned and owned[0] is asyncio.get_running_loop():
            await owned[1].aclose()

    def _client_here(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._used is None or self._used[0] is not loop:
            self._used = (loop, self._spare or self._new_client())
            self._spare = None
        return self._used[1]

    def _new_client(self) -> httpx.AsyncClient:
        return client_for(self._url, self._timeout)


def unpacked(body: bytes, encoding: str) -> bytes:
    """A body in one of the common encodings, though none was asked for; nothing in others.

    Nothing, too, where it is broken or would become too long. Never makes more of it than that.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _PACKED:
        return b""
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = unpacker.decompress(body, MAX_ANSWER_BYTES)
    except zlib.error:
        return b""
    return plain if unpacker.eof else b""


async def _body_of(response: httpx.Response, until: float) -> bytes:
    """The answer's body; nothing where it is too long or cannot be read: the status decides."""
    try:
        async with asyncio.timeout_at(until):
            body = await _as_sent(response)
    except (TimeoutError, httpx.HTTPError):
        return b""
    finally:
        await response.aclose()
    return unpacked(body, response.headers.get("content-encoding", ""))


async def _as_sent(response: httpx.Response) -> bytes:
    body, pieces = bytearray(), 0
    async for piece in response.aiter_raw():
        body += piece
        pieces += 1
        if len(body) > MAX_ANSWER_BYTES or pieces > _MAX_PIECES:
            return b""
    return bytes(body)


def _reason(error: httpx.HTTPError) -> str:
    match error:
        case httpx.LocalProtocolError():
            text = ""  # it quotes the request
        case httpx.RemoteProtocolError():
            text = str(error).partition(":")[0]  # it quotes the answer
        case _:
            text = str(error)
    return text[:_MAX_REASON].rstrip(".") or type(error).__name__
