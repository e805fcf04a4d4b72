"""The jobs whose histories are kept, and what may have changed in them since."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Cron,
    DebounceJob,
    DebounceRun,
    Every,
    Retry,
    RunFailure,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.definitions import Job

SOON = timedelta(milliseconds=20)


class Item(BaseModel):
    """An event: how many attempts of its run fail, and what else the run does."""

    fail: int = 0
    word: str = ""


class Notes(BaseModel):
    """A state: the words that came."""

    words: list[str] = []
    fail: int = 0


def stumble(attempt: int, fail: int) -> None:
    """Raise while the attempt's number is at most `fail`."""
    if attempt <= fail:
        raise ValueError(f"attempt {attempt} failed")


class Digest(DebounceJob[Item, Notes]):
    name = "digest"
    flush_after = timedelta(milliseconds=200)
    max_events = 5
    retry = Retry(max_attempts=3, initial=SOON, jitter=False)

    def reduce(self, state: Notes | None, event: Item) -> Notes:
        words = state.words if state else []
        return Notes(words=[*words, event.word], fail=event.fail)

    async def execute(self, run: DebounceRun[Notes]) -> None:
        stumble(run.attempt, run.state.fail)


class Poll(ContinuousJob[Notes]):
    name = "poll"
    schedule = Every(timedelta(milliseconds=250))
    retry = Retry(max_attempts=3, initial=SOON, jitter=False)
    on_exhausted = "pause"
    include_state_in_events = True

    async def execute(self, run: ContinuousRun[Notes]) -> None:
        if run.run_count in (2, 4):
            stumble(run.attempt, run.run_count - 1)
        run.state.words.append(f"run {run.run_count}")


class Thread(TaskJob[Item, Notes, int]):
    name = "thread"
    retry = Retry(max_attempts=2, initial=SOON, jitter=False)

    async def on_event(self, run: TaskRun[Notes], event: Item) -> int:
        stumble(run.attempt, event.fail)
        run.state.words.append(event.word)
        if event.word == "alarm":
            run.schedule(SOON)
        if event.word == "end":
            run.terminate("closed")
        return len(run.state.words)

    async def execute(self, run: TaskRun[Notes]) -> None:
        run.state.words.append("alarm rang")

    async def on_idle(self, run: TaskRun[Notes]) -> None:
        run.state.words.append("idle")

    async def on_error(self, run: TaskRun[Notes], error: RunFailure) -> None:
        run.state.words.append("error")


class Hooks(WorkerPoolJob[Item]):
    name = "hooks"
    concurrency = 1
    retry = Retry(max_attempts=2, initial=SOON, jitter=False)

    async def execute(self, run: WorkerPoolRun[Item]) -> None:
        stumble(run.attempt, run.event.fail)

    async def on_dead_letter(self, run: WorkerPoolRun[Item], error: RunFailure) -> None: ...

    async def on_empty(self, run: WorkerPoolRun[Item]) -> None: ...


def jobs() -> list[Job]:
    """The jobs as they were."""
    return [Digest(), Poll(), Thread(), Hooks()]


class StricterItem(Item):
    """No event of the past fits."""

    required_since: int
    word: str = Field(max_length=1)


class StricterDigest(DebounceJob[StricterItem, Notes]):
    name = "digest"
    flush_after = timedelta(milliseconds=200)

    def reduce(self, state: Notes | None, event: StricterItem) -> Notes:
        raise ValueError("nothing fits")

    async def execute(self, run: DebounceRun[Notes]) -> None: ...


class StricterThread(TaskJob[StricterItem, Notes, str]):
    name = "thread"

    async def on_event(self, run: TaskRun[Notes], event: StricterItem) -> str:
        return "another type of reply"

    async def execute(self, run: TaskRun[Notes]) -> None: ...


class StricterHooks(WorkerPoolJob[StricterItem]):
    name = "hooks"
    concurrency = 1

    async def execute(self, run: WorkerPoolRun[StricterItem]) -> None: ...


class OtherDigest(Digest):
    flush_after = timedelta(hours=1)
    max_events = None
    max_bytes = 10
    retry = Retry(max_attempts=1)
    timeout = timedelta(seconds=1)
    on_exhausted = "terminate"
    include_state_in_events = True


class OtherPoll(Poll):
    schedule = Cron("0 9 * * mon-fri", timezone="Europe/Berlin")
    retry = Retry(initial=timedelta(hours=1), maximum=timedelta(hours=1))
    timeout = timedelta(hours=1)
    on_exhausted = "terminate"
    include_state_in_events = False


class OtherThread(Thread):
    retry = Retry(max_attempts=50, backoff="linear")
    on_exhausted = "pause"
    include_state_in_events = True


class OtherHooks(Hooks):
    concurrency = 8
    idle_timeout = timedelta(seconds=1)
    retry = Retry(max_attempts=50, backoff="linear")
    on_exhausted = "terminate"


class NumberDigest(DebounceJob[Item, int]):
    name = "digest"
    flush_after = timedelta(milliseconds=200)
    state_version = 7

    def reduce(self, state: int | None, event: Item) -> int:
        return (state or 0) + 1

    async def execute(self, run: DebounceRun[int]) -> None: ...


class NumberPoll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(timedelta(milliseconds=250))

    async def execute(self, run: ContinuousRun[int]) -> None: ...


class NumberThread(TaskJob[Item, int, int]):
    name = "thread"

    async def on_event(self, run: TaskRun[int], event: Item) -> int:
        return run.state

    async def execute(self, run: TaskRun[int]) -> None: ...


class Another(Poll):
    """A job of none of the histories."""

    name = "another"


def changed_jobs() -> dict[str, list[Any]]:
    """Other definitions of the same jobs, by what changed."""
    return {
        "a stricter event type": [StricterDigest(), Poll(), StricterThread(), StricterHooks()],
        "other options": [OtherDigest(), OtherPoll(), OtherThread(), OtherHooks()],
        "another state type": [NumberDigest(), NumberPoll(), NumberThread(), Hooks()],
        "no such job any more": [Another()],
    }
