"""What a type checker says of handlers: `make types` reads this file, no test runs it.

Each ignore below stands for an error that must be there: one that is not needed is an error.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncIterator
from datetime import timedelta

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    RunFailure,
    TaskJob,
    TaskRun,
    collect,
)

SECOND = timedelta(seconds=1)


class Poll(ContinuousJob[int]):
    def initial_state(self, key: str) -> int:
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None: ...


class PlainPoll(ContinuousJob[int]):
    def execute(self, run: ContinuousRun[int]) -> None: ...


class WrongPoll(ContinuousJob[int]):
    def initial_state(self, key: str) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ""

    async def execute(self, run: ContinuousRun[str]) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]


class Triage(TaskJob[str, int, float]):
    async def on_event(self, run: TaskRun[int], event: str) -> float:
        return 1.0

    async def execute(self, run: TaskRun[int]) -> None: ...
    def on_idle(self, run: TaskRun[int]) -> None: ...
    async def on_error(self, run: TaskRun[int], error: RunFailure) -> None: ...


class Replyless(TaskJob[str, int]):
    async def on_event(self, run: TaskRun[int], event: str) -> None: ...
    async def execute(self, run: TaskRun[int]) -> None: ...


class WrongTriage(TaskJob[str, int, float]):
    async def on_event(self, run: TaskRun[int], event: int) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 1.0

    async def execute(self, run: TaskRun[str]) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    async def on_idle(self, run: TaskRun[str]) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    async def on_error(self, run: TaskRun[int], error: str) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    async def initial_state(self, key: str) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 0


class WrongReply(TaskJob[str, int, float]):
    async def on_event(self, run: TaskRun[int], event: str) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ""


class Latest(DebounceJob[str]):
    async def execute(self, run: DebounceRun[str]) -> None: ...


class Listing(DebounceJob[str, list[str]]):
    reduce = collect

    async def execute(self, run: DebounceRun[list[str]]) -> None: ...


class WrongListing(DebounceJob[str, list[int]]):
    reduce = collect  # pyright: ignore[reportAssignmentType]


class Digest(DebounceJob[str, int]):
    def reduce(self, state: int | None, event: str) -> int:
        return 1

    def execute(self, run: DebounceRun[int]) -> None: ...


class WrongDigest(DebounceJob[str, int]):
    def reduce(self, state: str | None, event: str) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 1

    async def execute(self, run: DebounceRun[int]) -> AsyncIterator[int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        yield 1
