"""Every debounced event is flushed exactly once while workers are killed; `make kills` has more."""

from durable_jobs.embedded import EmbeddedServer
from tests.support.count_kills import count


async def test_each_event_is_flushed_once_while_workers_are_killed(
    server: EmbeddedServer,
) -> None:
    counted = await count(server, events=3_000, keys=10, every=1.5, workers=2, rate=500)
    assert counted.adds_up
    assert counted.kills >= 3
    assert counted.longest_history < 10_000
