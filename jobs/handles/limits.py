"""The time that calls may take."""

from asyncio import get_running_loop
from datetime import timedelta

ANSWER_TIME = timedelta(seconds=15)
"""For a worker's answer, where a caller says nothing else. One that was killed is missed for 10."""

ERASE_TIME = timedelta(seconds=30)
"""For the end of an instance that is erased: an attempt under way has 10 s. Then for its events."""

_SHORTEST = timedelta(milliseconds=50)
_TO_EXPLAIN = timedelta(seconds=1)


class TimeLimit:
    """The time that one call may take, by the clock of the event loop that makes it."""

    def __init__(self, limit: timedelta) -> None:
        self.limit = limit
        self._end = get_running_loop().time() + limit.total_seconds()

    @property
    def left(self) -> timedelta:
        """What is left of it, and never nothing: the server takes none for no limit."""
        return max(timedelta(seconds=self._end - get_running_loop().time()), _SHORTEST)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of it."""
        return get_running_loop().time() >= self._end

    @property
    def for_answer(self) -> timedelta:
        """What is left for an answer, so that time remains to find out why none came."""
        return max(self.left - min(self.limit / 3, _TO_EXPLAIN), _SHORTEST)

    def __str__(self) -> str:
        return f"{self.limit.total_seconds():g} s"
