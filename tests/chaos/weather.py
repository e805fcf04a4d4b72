"""What goes wrong: workers are killed, the server restarts, the collector has its moods."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from durable_jobs.embedded import EmbeddedServer
from tests.tracking.collector import Answer, Collector, Request

ROOT = Path(__file__).parents[2]
MOODS = ("fine", "500", "fine", "429", "hangs", "fine", "413", "forgets", "refuses")


def chosen(event_id: str) -> bool:
    """Whether the collector refuses this event for good."""
    return sha256(event_id.encode()).digest()[0] < 3


@dataclass
class Books:
    """What the collector saw of each event, by execution and sequence."""

    events: dict[tuple[str, int], dict[str, Any]] = field(
        default_factory=dict[tuple[str, int], dict[str, Any]]
    )
    texts: dict[str, str] = field(default_factory=dict[str, str])
    """Each event as it came first, by its id."""

    refused: set[str] = field(default_factory=set[str])
    """Those refused alone, and thus for good."""

    duplicates: int = 0
    faults: list[str] = field(default_factory=list[str])

    def enter(self, event: dict[str, Any], *, delivered: bool) -> None:
        """Look at an event, whatever the answer to it will be."""
        name, text = event["eventId"], json.dumps(event)
        if self.texts.setdefault(name, text) != text:
            self.faults.append(f"sent in two versions: {self.texts[name]} and {text}")
        if not delivered:
            return
        place = (event["executionId"], event["sequence"])
        before = self.events.setdefault(place, event)
        self.duplicates += before is not event
        if before["eventId"] != name:
            self.faults.append(f"two events of one number: {before} and {event}")


class Moody:
    """A real HTTP collector with moods."""

    def __init__(self) -> None:
        self.collector = Collector()
        self.collector.behaviour = self._answer
        self.books = Books()
        self.mood = "fine"
        self.answers: Counter[str] = Counter()

    async def change(self, mood: str) -> None:
        """Go over to another mood; one that refuses does not even listen."""
        if (mood == "refuses") != (self.mood == "refuses"):
            await (self.collector.stop() if mood == "refuses" else self.collector.start())
        self.mood = mood

    async def _answer(self, request: Request) -> Answer:
        # They were looked at; a long run would keep too many.
        self.collector.requests.clear()
        self.collector.accepted.clear()
        answer = await self._judge(request.events)
        self.answers["closed" if answer.close else str(answer.status)] += 1
        for event in request.events:
            self.books.enter(event, delivered=answer.status == 200)
        return answer

    async def _judge(self, events: list[dict[str, Any]]) -> Answer:
        match self.mood:
            case "500":
                return Answer(500)
            case "429":
                return Answer(429, headers={"retry-after": "1"})
            case "hangs":
                await asyncio.sleep(3)
                return Answer(503, close=True)
            case "forgets" if not any(chosen(event["eventId"]) for event in events):
                # Keeps them and does not say so: they come again.
                return Answer(close=True)
            case "413" if len(events) > 3:
                return Answer(413)
            case _:
                return self._refuse(events)

    def _refuse(self, events: list[dict[str, Any]]) -> Answer:
        found = [event["eventId"] for event in events if chosen(event["eventId"])]
        if not found:
            return Answer()
        if len(events) == 1:
            self.books.refused.update(found)
        return Answer(422)


@dataclass
class Workers:
    """Worker processes; each that is killed is followed by another."""

    command: tuple[str, ...]
    log: Path
    kills: int = 0
    processes: list[asyncio.subprocess.Process] = field(
        default_factory=list[asyncio.subprocess.Process]
    )

    async def start(self) -> None:
        """Start one more."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.worker", *self.command),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)

    async def kill(self) -> None:
        """SIGKILL the one that has worked longest, and start another."""
        process = self.processes.pop(0)
        process.kill()
        await process.wait()
        self.kills += 1
        await self.start()

    async def stop(self) -> None:
        """Kill them all."""
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@dataclass
class Weather:
    """Lets everything fail in turn, until told to stop."""

    server: EmbeddedServer
    workers: Workers
    collector: Moody
    chance: random.Random
    restart_every: tuple[float, float] = (15, 25)
    """Seconds, at least and at most."""

    mood_for: tuple[float, float] = (1, 3)
    """Seconds that each of the collector's moods lasts."""

    restarts: int = 0

    @property
    def has_shown_all(self) -> bool:
        """Whether each part has failed at least once, in each of its ways that can be counted."""
        answered = {"422", "429", "500", "closed"} <= self.collector.answers.keys()
        return answered and bool(self.workers.kills and self.restarts)

    async def rage(self) -> None:
        """Break things until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(3, 5, self.workers.kill))
            group.create_task(self._moods())
            group.create_task(self._every(*self.restart_every, self._restart))

    async def _every(self, least: float, most: float, harm: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(least, most))
            await harm()

    async def _restart(self) -> None:
        await self.server.kill()
        await asyncio.sleep(self.chance.uniform(0.2, 2))
        await self.server.restart()
        self.restarts += 1

    async def _moods(self) -> None:
        while True:
            for mood in MOODS:
                await self.collector.change(mood)
                await asyncio.sleep(self.chance.uniform(*self.mood_for))
                while mood in ("500", "429") and not self.collector.answers[mood]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
