"""What one system did in one scene, over its turns, as a line of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from temporalio.client import Client

from .frame import Row
from .history import Cost, cost_of
from .load import Span, ms


@dataclass
class Turns:
    """What one system did in one scene, over its turns."""

    unit: str
    """What it did many of, such as ticks, in the singular."""

    timed: str
    """What `seconds` tell of each one."""

    count: int = 0
    spans: list[Span] = field(default_factory=list[Span])
    seconds: list[float] = field(default_factory=list[float])
    sampled: list[str] = field(default_factory=list[str])
    """Instances whose histories are read."""

    sampled_count: int = 0

    def row(self, scene: str, system: str, cost: Cost) -> Row:
        """The line of the table."""
        each = cost.each(self.sampled_count)
        return {
            "scene": scene,
            "system": system,
            f"{self.unit}s": self.count,
            f"{self.unit}s/s": round(self.count / sum(span.seconds for span in self.spans), 1),
            f"{self.timed} p50 ms": ms(self.seconds, 0.5),
            f"{self.timed} p99 ms": ms(self.seconds, 0.99),
            "longest history": cost.longest,
            **{f"{name}/{self.unit}": value for name, value in each.items()},
        }


async def rows_of(client: Client, scene: str, turns: Mapping[str, Turns]) -> list[Row]:
    """The lines of all systems in a scene."""
    return [
        each.row(scene, system, await cost_of(client, each.sampled))
        for system, each in turns.items()
    ]
