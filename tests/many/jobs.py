"""Jobs of which tests run many instances, and a service whose outage they all feel."""

from datetime import timedelta

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    TaskJob,
    TaskRun,
)
from tests.support.jobs import QUICK, at_most

HOUR = timedelta(hours=1)


class Service:
    """What jobs call; it can be down for some keys."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.calls: list[str] = []

    def call(self, key: str) -> None:
        """Note the call, or fail."""
        if key in self.down:
            raise ConnectionError("the service is down")
        self.calls.append(key)


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(HOUR)
    start_immediately = False
    retry = at_most(1)

    def __init__(self, service: Service) -> None:
        self.service = service

    def initial_state(self, key: str) -> int:
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        self.service.call(run.key)
        run.state += 1


class Digest(DebounceJob[str, str]):
    name = "digest"
    flush_after = HOUR
    retry = QUICK

    async def execute(self, run: DebounceRun[str]) -> None: ...


class Triage(TaskJob[str, int]):
    name = "triage"
    retry = at_most(1)

    def __init__(self, service: Service) -> None:
        self.service = service

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        self.service.call(event)
        run.state += 1

    async def execute(self, run: TaskRun[int]) -> None: ...
