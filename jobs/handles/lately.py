"""Remembers which instances took a signal a moment ago."""

import time
from collections import OrderedDict

_LATELY = 1.0  # seconds
_MOST = 1_000


class Lately:
    """Such an instance most likely lives: a plain signal will do, which costs both sides less.

    Where it does not, the server says so, and nothing was taken.
    """

    def __init__(self) -> None:
        # Whose single steps are whole also where threads share it.
        self._at: OrderedDict[str, float] = OrderedDict()

    def note(self, instance_id: str) -> None:
        """It took a signal now."""
        self._at.pop(instance_id, None)
        self._at[instance_id] = time.monotonic()
        if len(self._at) > _MOST:
            self._at.popitem(last=False)

    def has(self, instance_id: str) -> bool:
        """Whether it took one within the last second."""
        return time.monotonic() - self._at.get(instance_id, -_LATELY) < _LATELY

    def forget(self, instance_id: str) -> None:
        """It has ended."""
        self._at.pop(instance_id, None)
