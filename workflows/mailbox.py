"""What callers sent and the instance has not taken up yet, in the order in which it came."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from durable_jobs.values import JSON

from .machines.messages import Message

SLICE_EVENTS = 10_000
SLICE_BYTES = 2 * 1024 * 1024
"""The most that is taken up in one activation: the SDK takes one over 2 s for stuck."""

AT_ONCE = frozenset({"pause", "resume"})
"""Verbs that take effect ahead of what waits before them."""


class Answer(Protocol):
    """Where the answer to an update goes; an `asyncio.Future` is one."""

    def done(self) -> bool:
        """Whether nobody waits for it any more."""
        ...

    def set_result(self, result: JSON, /) -> object:
        """Give the answer."""
        ...

    def set_exception(self, exception: BaseException, /) -> object:
        """Refuse the update."""
        ...


@dataclass(slots=True)
class Letter:
    """One signal as it came, or one update that was read."""

    name: str
    at: datetime
    args: Sequence[RawValue] = ()
    message: Message | None = None
    answer: Answer | None = None
    """Of an update: who waits for it."""

    can_wait: bool = False
    """Whether it is a signal that only brings events: it may wait, and travel, unread."""

    @property
    def bytes(self) -> int:
        """What its payloads weigh."""
        return sum(len(raw.payload.data) for raw in self.args)


class Unread(BaseModel):
    """A letter that travels with continue-as-new as it came."""

    name: str
    at: datetime
    payloads: list[tuple[str, str]]
    """The encoding and the data of each, a character for a byte."""

    @staticmethod
    def of(letter: Letter) -> "Unread":
        """A letter as it travels."""
        payloads = [(_encoding(raw), raw.payload.data.decode("latin-1")) for raw in letter.args]
        return Unread(name=letter.name, at=letter.at, payloads=payloads)

    def letter(self) -> Letter:
        """The letter that it was."""
        args = [
            RawValue(Payload(metadata={"encoding": encoding.encode()}, data=data.encode("latin-1")))
            for encoding, data in self.payloads
        ]
        return Letter(self.name, self.at, args, can_wait=True)


def _encoding(raw: RawValue) -> str:
    return raw.payload.metadata.get("encoding", b"").decode(errors="replace")


class Mailbox:
    """Keeps letters until the instance takes them up. Putting one in is constant work."""

    def __init__(self, unread: Iterable[Unread] = ()) -> None:
        self._urgent: deque[Letter] = deque()
        self._letters: deque[Letter] = deque(each.letter() for each in unread)
        self._pressing = 0
        """Letters that cannot wait, and with them all that came before."""

        self.received: int = 0
        """Letters that came in this run of the workflow."""

        self.slice_events: int = SLICE_EVENTS

    def __bool__(self) -> bool:
        return bool(self._urgent or self._letters)

    @property
    def can_wait(self) -> bool:
        """Whether all that it holds may wait unread."""
        return not self._urgent and not self._pressing

    def put(self, letter: Letter) -> None:
        """Add a letter."""
        self.received += 1
        if letter.name in AT_ONCE:
            self._urgent.append(letter)
            return
        self._letters.append(letter)
        self._pressing += not letter.can_wait

    def take_slice(self) -> Iterator[Letter]:
        """Take letters out, one by one, as long as the slice has room for more.

        Whoever takes a letter says with `weigh` how many events it brought.
        """
        self._events = self._bytes = 0
        while self._urgent:
            yield self._urgent.popleft()
        while self._letters and self._events < self.slice_events and self._bytes < SLICE_BYTES:
            letter = self._letters.popleft()
            self._pressing -= not letter.can_wait
            self._bytes += letter.bytes
            yield letter

    def weigh(self, events: int) -> None:
        """The letter at hand brought so many events."""
        self._events += max(events, 1)

    def put_back(self, letter: Letter) -> None:
        """Make a letter the first one again."""
        if letter.name in AT_ONCE:
            self._urgent.appendleft(letter)
            return
        self._letters.appendleft(letter)
        self._pressing += not letter.can_wait

    def unread(self) -> list[Unread]:
        """What travels with continue-as-new."""
        return [Unread.of(letter) for letter in self._letters]
