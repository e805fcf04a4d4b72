"""Tracking events as workers send them: all types, many instances, some failures."""

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from durable_jobs.tracking.ids import iso_ms, uuid7_at

Event = dict[str, Any]

LIVE = 400
"""Instances that go on at the same time."""

_JOBS = {
    "continuous": ("poll-inbox", "sync-account", "refresh-token"),
    "debounce": ("repo-digest", "search-index", "notify-watchers"),
    "task": ("triage-issue", "chase-invoice"),
}
_KEYS = {"continuous": 2_000, "debounce": 12_000, "task": 6_000}
_ERRORS = (
    "httpx.ReadTimeout: the mail server did not answer within 10 s",
    "TooManyRequests: 429 from api.example.com, try again in 30 s",
    "IntegrityError: duplicate key value violates unique constraint",
)
_STACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/app/jobs/{name}.py", line {line}, in {name}\n    await self.{name}(run)\n'
    for name, line in (("execute", 88), ("fetch", 142), ("send", 61), ("request", 1574))
)


@dataclass
class Clock:
    """The time of the next event."""

    now: datetime
    gap: timedelta
    """Between two events, on average."""

    def tick(self) -> datetime:
        """Go on a little."""
        self.now += self.gap * random.uniform(0.5, 1.5)
        return self.now


@dataclass
class _Life:
    """One execution of an instance, which numbers its events."""

    kind: str
    clock: Clock
    job: str = field(init=False)
    key: str = field(init=False)
    execution: str = field(init=False)
    sequence: int = 0
    runs: int = 0

    def __post_init__(self) -> None:
        self.job = random.choice(_JOBS[self.kind])
        self.key = f"account-{random.randrange(_KEYS[self.kind])}/main"
        self.execution = uuid7_at(self.clock.now, random.randbytes(16))

    def event(self, kind: str, **more: Any) -> Event:
        """The next one."""
        self.sequence += 1
        at = self.clock.tick()
        return {
            "eventId": uuid7_at(at, f"{self.execution}:{self.sequence}"),
            "timestamp": iso_ms(at),
            "source": "job",
            "instanceId": f"{self.kind}:{self.job}:{self.key}",
            "id": self.key,
            "jobType": self.kind,
            "jobName": self.job,
            "env": "production",
            "serviceKey": "billing",
            "type": kind,
            "executionId": self.execution,
            "sequence": self.sequence,
            **more,
        }

    def run(self, handler: str = "execute") -> Generator[Event]:
        """A run: sometimes a few failed attempts, then it succeeds."""
        self.runs += 1
        attempt = 1
        while random.random() < 0.06:
            error = {"message": random.choice(_ERRORS), "stack": _STACK}
            more = {"runCount": self.runs, "attempt": attempt, "willRetry": True}
            yield self.event("job.failed", error=error, **more)
            attempt += 1
        took = random.randrange(5, 4_000)
        more = {"runCount": self.runs, "attempt": attempt, "handler": handler}
        yield self.event("job.executed", durationMs=took, **more)

    def later(self) -> str:
        """A time soon to come."""
        return iso_ms(self.clock.now + timedelta(seconds=random.randrange(1, 600)))


def _continuous(life: _Life) -> Generator[Event]:
    yield life.event("job.started")
    for _ in range(random.randrange(20, 400)):
        yield from life.run()
    yield life.event("job.terminated", reason="account closed", runCount=life.runs)


def _debounce(life: _Life) -> Generator[Event]:
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        yield life.event("debounce.started", flushAt=life.later())
        yield from life.run()
        count = random.randrange(1, 60)
        more = {"eventCount": count, "durationMs": 5_000 + count, "flushReason": "timeout"}
        yield life.event("debounce.flushed", reason="timeout", **more)


def _task(life: _Life) -> Generator[Event]:
    yield life.event("job.started")
    for _ in range(random.randrange(1, 12)):
        yield from life.run("on_event")
        yield life.event("task.scheduled", scheduledAt=life.later(), trigger="event")
        yield from life.run()
    yield life.event("job.terminated", reason="done", runCount=life.runs)


_LIVES = {"continuous": _continuous, "debounce": _debounce, "task": _task}


def events(start: datetime, gap: timedelta, live: int = LIVE) -> Iterator[Event]:
    """Events without end, in the order of their time, of `live` instances that take turns."""
    clock = Clock(start, gap)
    lives: list[Iterator[Event]] = [_new(clock) for _ in range(live)]
    while True:
        place = random.randrange(live)
        event = next(lives[place], None)
        if event is None:
            lives[place] = _new(clock)
        else:
            yield event


def _new(clock: Clock) -> Iterator[Event]:
    kind = random.choices(tuple(_LIVES), (2, 5, 3))[0]
    return _LIVES[kind](_Life(kind, clock))


def recent(count: int, days: float) -> Iterator[Event]:
    """`count` events spread over the last `days`."""
    span = timedelta(days=days)
    source = events(datetime.now(UTC) - span, span / count)
    return (event for event, _ in zip(source, range(count), strict=False))
