"""What callers sent and the instance has not taken up yet, in the order in which it came."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.common import RawValue

from durable_jobs.values import JSON

from .machines.messages import Message

SLICE_EVENTS = 10_000
SLICE_BYTES = 2 * 1024 * 1024
"""The most that is taken up in one activation: the SDK takes one over 2 s for stuck."""

AT_ONCE = frozenset({"pause", "resume"})
"""Verbs that take effect ahead of what waits before them."""


@dataclass(slots=True)
class Letter:
    """One signal as it came, or one update that was read."""

    name: str
    at: datetime
    args: Sequence[RawValue] = ()
    message: Message | None = None
    answer: asyncio.Future[JSON] | None = None
    """Of an update: who waits for it."""

    @property
    def bytes(self) -> int:
        """What its payloads weigh."""
        return sum(len(raw.payload.data) for raw in self.args)


class Mailbox:
    """Keeps letters until the instance takes them up. Putting one in is constant work."""

    def __init__(self) -> None:
        self._urgent: deque[Letter] = deque()
        self._letters: deque[Letter] = deque()
        self.received: int = 0
        """Letters that ever came."""

    def __bool__(self) -> bool:
        return bool(self._urgent or self._letters)

    def put(self, letter: Letter) -> None:
        """Add a letter."""
        self.received += 1
        (self._urgent if letter.name in AT_ONCE else self._letters).append(letter)

    def take_slice(self) -> Iterator[Letter]:
        """Take letters out, one by one, as long as the slice has room for more.

        Whoever takes a letter says with `weigh` how many events it brought.
        """
        self._events = self._bytes = 0
        while self._urgent:
            yield self._urgent.popleft()
        while self._letters and self._events < SLICE_EVENTS and self._bytes < SLICE_BYTES:
            letter = self._letters.popleft()
            self._bytes += letter.bytes
            yield letter

    def weigh(self, events: int) -> None:
        """The letter at hand brought so many events."""
        self._events += max(events, 1)

    def put_back(self, letter: Letter) -> None:
        """Make a letter the first one again."""
        (self._urgent if letter.name in AT_ONCE else self._letters).appendleft(letter)
