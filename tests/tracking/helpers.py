"""What the tests of the tracking package share."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from durable_jobs.tracking.breaker import Pace
from durable_jobs.tracking.courier import Courier, Verdict
from durable_jobs.tracking.ids import iso_ms, uuid7_at

SOON = timedelta(seconds=5)
FAST = Pace(
    linger=0.002,
    slow=0.3,
    first_wait=0.01,
    longest_wait=0.05,
    first_misconfigured_wait=0.02,
    longest_misconfigured_wait=0.05,
)


def event(number: int, execution: str = "run-1", **fields: Any) -> dict[str, Any]:
    """A whole event; its time is that of its making unless `timestamp` is given."""
    at = datetime.now(UTC)
    return {
        "eventId": uuid7_at(at, f"{execution}/{number}"),
        "timestamp": iso_ms(at),
        "source": "job",
        "instanceId": "continuous:poll:default",
        "id": "default",
        "jobType": "continuous",
        "jobName": "poll",
        "env": "test",
        "serviceKey": "svc",
        "executionId": execution,
        "sequence": number,
        "type": "job.started",
        **fields,
    }


def events(count: int, execution: str = "run-1") -> list[dict[str, Any]]:
    return [event(number, execution) for number in range(1, count + 1)]


def ids_of(items: list[dict[str, Any]]) -> list[str]:
    return [item["eventId"] for item in items]


async def until(condition: Callable[[], object], within: float = 30.0) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.002)


async def settled(courier: Courier, ids: Sequence[str], within: float = 30.0) -> dict[str, Verdict]:
    """The verdicts on all these events, whatever happens until they are there."""
    await until(lambda: len(courier.verdicts(ids)) == len(ids), within)
    return courier.verdicts(ids)
