"""A request's body, never more of it in memory than is allowed."""

import asyncio
from collections.abc import AsyncIterable, Mapping

MAX_BYTES = 2_000_000
# What is read and thrown away, so that a sender who still writes gets to read the answer.
_DISCARDED = 64_000_000
_SECONDS = 30.0


class TooLarge(Exception):
    """The body is over the limit."""


def says_json(headers: Mapping[str, str]) -> bool:
    """Whether a request says that it brings JSON.

    A browser sends that for a foreign page only if the server agrees, which this one never does.
    """
    media = headers.get("content-type", "").partition(";")[0]
    return media.strip().lower() == "application/json"


async def read_body(parts_of_it: AsyncIterable[bytes]) -> bytes:
    """The body. Raises TooLarge, TimeoutError or starlette's ClientDisconnect."""
    parts: list[bytes] = []
    size = 0
    async with asyncio.timeout(_SECONDS):
        async for part in parts_of_it:
            size += len(part)
            if size <= MAX_BYTES:
                parts.append(part)
                continue
            parts.clear()
            if size > _DISCARDED:
                break
    if size > MAX_BYTES:
        raise TooLarge
    return b"".join(parts)
