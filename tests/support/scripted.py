"""Jobs that note each call of a handler, then do what the test wrote down for the instance's key.

So one worker serves all the tests of a file.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Call:
    """One attempt of a handler: the state it began with, its event and its run object."""

    handler: str
    state: Any
    run: Any
    event: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)


Script = Callable[[Any], Awaitable[Any]]


@dataclass
class Book:
    """What handlers were called with, and what they are to do, by key."""

    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    scripts: dict[str, Script] = field(default_factory=dict)

    def of(self, key: str) -> list[Call]:
        """The calls for a key, oldest first."""
        return self.calls[key]

    def script(self, key: str, script: Script) -> None:
        """What the handlers of this key do after the call was noted."""
        self.scripts[key] = script

    async def play(self, handler: str, run: Any, event: Any = None) -> Any:
        """Note a call and do what the test wrote down."""
        self.calls[run.key].append(Call(handler, deepcopy(run.state), run, event))
        script = self.scripts.get(run.key)
        return await script(run) if script else None


class Push(BaseModel):
    """An event."""

    n: int = 1
    note: str = ""


class Total(BaseModel):
    """A state that keeps the numbers of all events."""

    ns: list[int] = []
