"""Jobs that the tests of tasks share."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from durable_jobs import NonRetryable, TaskJob, TaskRun
from tests.support.jobs import QUICK, at_most

SOON = timedelta(milliseconds=150)
HOUR = timedelta(hours=1)

Script = Callable[[TaskRun[int]], Awaitable[None]]


class Follow(TaskJob[str, int]):
    """Follows up: what an event or the alarm does is up to the test."""

    name = "follow"
    retry = QUICK

    def __init__(self, on_event: Script, on_alarm: Script | None = None) -> None:
        self._on_event, self._on_alarm = on_event, on_alarm
        self.events: list[str] = []
        self.alarms: list[datetime] = []
        self.seen: list[datetime | None] = []

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        self.events.append(event)
        self.seen.append(run.scheduled_at)
        await self._on_event(run)

    async def execute(self, run: TaskRun[int]) -> None:
        self.alarms.append(datetime.now(UTC))
        if self._on_alarm is not None:
            await self._on_alarm(run)


class Idling(Follow):
    """The same, and notes when it becomes idle."""

    def __init__(
        self, on_event: Script, on_alarm: Script | None = None, on_idle: Script | None = None
    ) -> None:
        super().__init__(on_event, on_alarm)
        self._on_idle = on_idle
        self.idle: list[int] = []

    async def on_idle(self, run: TaskRun[int]) -> None:
        self.idle.append(run.run_count)
        if self._on_idle is not None:
            await self._on_idle(run)


class Sieve(TaskJob[str, list[str], int]):
    """Fails with the events that do not pass."""

    name = "sieve"

    def __init__(self) -> None:
        self.open = False
        self.keys: list[str] = []

    async def on_event(self, run: TaskRun[list[str]], event: str) -> int:
        self.keys.append(run.idempotency_key)
        if event.startswith("bad") and not self.open:
            raise NonRetryable(f"no {event}")
        run.state.append(event)
        return run.event_count

    async def execute(self, run: TaskRun[list[str]]) -> None:
        """No handler sets the alarm."""


async def nothing(run: TaskRun[int]) -> None:
    """Does nothing."""


async def soon(run: TaskRun[int]) -> None:
    """Sets the alarm to ring soon."""
    run.schedule(SOON)


async def much_later(run: TaskRun[int]) -> None:
    """Sets the alarm to ring in an hour."""
    run.schedule(HOUR)


class Note(BaseModel):
    text: str = ""


class Thread(BaseModel):
    texts: list[str] = []


class Triage(TaskJob[Note, Thread, int]):
    """Keeps the texts of a thread, and notes its runs."""

    name = "triage"
    retry = at_most(3)

    def __init__(self) -> None:
        self.runs: list[TaskRun[Thread]] = []
        self.alarms: list[TaskRun[Thread]] = []

    async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
        self.runs.append(run)
        run.state.texts.append(event.text)
        return len(run.state.texts)

    async def execute(self, run: TaskRun[Thread]) -> None:
        self.alarms.append(run)


class Question(BaseModel):
    number: int = 0


class Oracle(TaskJob[Question, int, str]):
    """Replies with the number of the question, unless it is held back."""

    name = "oracle"
    heartbeat_timeout = timedelta(seconds=1.5)
    retry = at_most(2)

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    async def on_event(self, run: TaskRun[int], event: Question) -> str:
        self.asked.append(event.number)
        await self.open.wait()
        if event.number < 0:
            raise ValueError("a negative question")
        run.state += 1
        return f"reply {event.number}"

    async def execute(self, run: TaskRun[int]) -> None:
        pass
