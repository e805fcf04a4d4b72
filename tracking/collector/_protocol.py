"""HTTP of which no connection takes up what the others need."""

import asyncio
import socket
import struct
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_SECONDS = 15.0
_STUCK_SECONDS = 15.0
_MOST = 500
_AT_ONCE = struct.pack("ii", 1, 0)


def _most_connections() -> int:
    """How many may be open: half of the descriptors that the process may have, at most 500."""
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # Windows, where sockets are no descriptors
        return _MOST
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return _MOST if soft < 0 else min(_MOST, max(soft // 2, 10))


class ImpatientProtocol(H11Protocol):
    """Ends connections that hold something up: uvicorn limits only the time between two requests.

    That is one whose next request's head does not come whole in time, one whose reader reads
    nothing, and, where there are too many, the one that is idle for longest. Bodies have their
    own limit.
    """

    most_connections: int = _most_connections()
    _heading: asyncio.TimerHandle | None = None
    _looking: asyncio.TimerHandle | None = None
    _stuck: bool = False
    _used_at: float = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._used_at = self.loop.time()
        self._heading = self.loop.call_later(_HEAD_SECONDS, self.transport.close)
        self._looking = self.loop.call_later(_STUCK_SECONDS, self._look)
        if len(self.connections) > self.most_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Wait on where a head has only begun."""
        self._used_at = self.loop.time()
        super().data_received(data)
        begun = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        if not begun:
            self._head_came()
        elif self._heading is None:
            self._heading = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def resume_writing(self) -> None:
        """Its reader reads."""
        self._stuck = False
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._head_came()
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return not self.cycle or self.cycle.response_complete

    def give_up(self) -> None:
        """End it at once; what its reader did not read is lost."""
        self.connections.discard(self)
        # Else the system would keep what was not read, for a reader that never asks for it.
        here: Any = self.transport.get_extra_info("socket")
        here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _make_room(self) -> None:
        others: list[Any] = [one for one in self.connections if one is not self]
        idle = [one for one in others if one.is_idle]
        min(idle, key=lambda one: one._used_at, default=self).give_up()

    def _look(self) -> None:
        """Give it up where nothing was read since the last look."""
        left = self.transport.get_write_buffer_size()
        waits = self.flow.write_paused or (self.transport.is_closing() and left > 0)
        if waits and self._stuck:
            self.give_up()
            return
        self._stuck = waits
        self._looking = self.loop.call_later(_STUCK_SECONDS, self._look)

    def _head_came(self) -> None:
        if self._heading is not None:
            self._heading.cancel()
            self._heading = None
