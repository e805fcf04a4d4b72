"""New events as server-sent events, resumable by their arrival number."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from .queries import arrived, newest
from .store import Store

_AT_ONCE = 200
_CHARACTERS = 200_000  # of the events that are read at once, about: they wait for a slow reader
# Further behind than this, a reader does better to load its views again.
_BEHIND = 2000
_PAUSE = 0.25  # seconds between two reads: a page has no use for more
_ALIVE = 15.0  # seconds after which a silent stream says that it lives


class News:
    """Wakes those who wait for events."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self.closed: bool = False

    def tell(self) -> None:
        """Something came."""
        self._wake.set()
        self._wake = asyncio.Event()

    def close(self) -> None:
        """Streams end, so that the server can."""
        self.closed = True
        self.tell()

    async def wait(self) -> bool:
        """Wait for the next call of `tell`; False: nothing came for a while."""
        try:
            await asyncio.wait_for(self._wake.wait(), _ALIVE)
        except TimeoutError:
            return False
        return True


async def stream(store: Store, news: News, after: int | None) -> AsyncGenerator[str]:
    """Messages `id`, `data` from the event after `after` on, else from the next to come.

    A reader too far behind, or to whose next events retention came first, gets `event: skipped`
    with the number of what it is not sent.
    """
    at = await store.read(newest) if after is None else after
    yield f"retry: 1000\nid: {at}\n\n"
    while not news.closed:
        # Taken before the query, so that what comes during it is not missed.
        waiting = asyncio.ensure_future(news.wait())
        try:
            text, at = await _next(store, at)
            if text:
                yield text
                await asyncio.sleep(_PAUSE)
            elif not await waiting:
                yield ": nothing new\n\n"
        finally:
            waiting.cancel()


async def _next(store: Store, at: int) -> tuple[str, int]:
    last = await store.read(newest)
    if last < at:  # another file than the one that the reader knows
        return _skipped(0, last)
    rows = await store.read(partial(arrived, after=at, limit=_AT_ONCE, most=_CHARACTERS))
    # Arrival numbers have no holes: what is not there was deleted.
    first = rows[0][0] if rows else last + 1
    if last - first >= _BEHIND:
        return _skipped(last - at, last)
    if first > at + 1:
        return _skipped(first - 1 - at, first - 1)
    messages = [f"id: {seq}\ndata: {_one_line(raw)}\n\n" for seq, raw in rows]
    return "".join(messages), rows[-1][0] if rows else at


def _skipped(number: int, last: int) -> tuple[str, int]:
    return f"event: skipped\nid: {last}\ndata: {number}\n\n", last


def _one_line(raw: str) -> str:
    """The text of an event without the line ends that it may hold between its members.

    Only these two end a line of a stream, and JSON's strings cannot hold them.
    """
    return raw.replace("\r", " ").replace("\n", " ")
