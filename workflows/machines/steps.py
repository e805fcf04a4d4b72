"""What an instance is to do next."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing, until something comes or the time has come."""

    until: datetime | None = None
    what: str = ""
    """Names the timer in the Temporal UI."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Make the next attempt of the machine's run."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the attempt under way."""


@dataclass(frozen=True, slots=True)
class Call:
    """Ask a worker something; the machine's `answered` gets the answer."""

    name: str
    request: BaseModel
    answer: type[BaseModel]
    summary: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The life is over."""


Step = Wait | Attempt | Cancel | Call | Finish
