"""What the handles of one `JobClient` share."""

from dataclasses import dataclass, field
from itertools import count

from ..link import Link
from ..loops import PerLoop
from .batch import Batcher
from .lately import Lately
from .scale import Scale


class Once:
    """Names a run's calls, so that a repeated attempt's are known as the same."""

    def __init__(self, run_key: str) -> None:
        self._run_key = run_key
        self._counts: dict[str, count[int]] = {}

    def next_id(self, instance_id: str, verb: str) -> str:
        """The id of the next call of its kind to an instance."""
        target = f"{verb}:{instance_id}"
        number = next(self._counts.setdefault(target, count(1)))
        return f"{self._run_key}:{target}:{number}"


@dataclass(frozen=True, slots=True)
class Connection:
    """What handles need of their `JobClient`. It may be used from any thread and event loop."""

    link: Link
    task_queue: str
    once: Once | None = None
    batchers: PerLoop[Batcher] = field(default_factory=lambda: PerLoop(Batcher))
    lately: Lately = field(default_factory=Lately)
    """Shared, so that whoever signals next knows too."""

    scale: Scale = field(default_factory=Scale)

    turns: "dict[str, count[int]]" = field(default_factory=dict[str, "count[int]"])
    """By worker pool: counts the events that go to each instance in turn."""

    @property
    def batcher(self) -> Batcher:
        """Shared by all handles in one event loop, so that those of one key share their calls."""
        return self.batchers.get()
