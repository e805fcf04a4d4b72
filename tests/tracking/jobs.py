"""Jobs whose lives the tracking tests follow: events and states say how often a run fails."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    NonRetryable,
    Retry,
    RunFailure,
    TaskJob,
    TaskRun,
)

SECRET = "what nobody may read"
SOON = timedelta(milliseconds=20)
QUICK = Retry(max_attempts=3, initial=SOON, jitter=False)


class Item(BaseModel):
    """An event: a number, and how many attempts of its run fail."""

    n: int = 1
    fail: int = 0
    word: str = ""


class Basket(BaseModel):
    """A state: what was gathered."""

    total: int = 0
    fail: int = 0
    word: str = ""


def fail_if_asked(attempt: int, fail: int, word: str = "") -> None:
    """Raise while the attempt's number is at most `fail`."""
    if attempt > fail:
        return
    if word == "final":
        raise NonRetryable("this cannot work")
    if word == "invalid":
        TypeAdapter(int).validate_python(SECRET)
    raise ValueError(f"attempt {attempt} failed")


class Gather(DebounceJob[Item, Basket]):
    name = "gather"
    flush_after = timedelta(milliseconds=150)
    retry = QUICK

    def reduce(self, state: Basket | None, event: Item) -> Basket:
        if event.word == "unfit":
            raise ValueError("does not fit")
        total = (state.total if state else 0) + event.n
        return Basket(total=total, fail=event.fail, word=event.word)

    async def execute(self, run: DebounceRun[Basket]) -> None:
        fail_if_asked(run.attempt, run.state.fail, run.state.word)
        if run.state.word == "enough":
            run.terminate("enough")


class GatherLater(Gather):
    """Is ended before it flushes."""

    name = "gather-later"
    flush_after = timedelta(seconds=50)


class GatherOn(Gather):
    name = "gather-on"
    on_exhausted = "continue"

    async def execute(self, run: DebounceRun[Basket]) -> None:
        fail_if_asked(run.attempt, run.state.fail if run.run_count == 1 else 0)


class GatherOrEnd(Gather):
    name = "gather-or-end"
    on_exhausted = "terminate"


class GatherOnce(GatherOrEnd):
    name = "gather-once"
    retry = Retry(max_attempts=1)


class GatherShown(Gather):
    name = "gather-shown"
    include_state_in_events = True


class GatherByCount(DebounceJob[Item]):
    name = "gather-by-count"
    max_events = 2

    def execute(self, run: DebounceRun[Item]) -> None:
        """Plain: in a thread."""


class Beat(ContinuousJob[Basket]):
    """Ticks until `total` is 0; fails in the second run, as often as the state says."""

    name = "beat"
    schedule = Every(timedelta(milliseconds=150))
    retry = QUICK

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        if run.run_count == 2:
            fail_if_asked(run.attempt, run.state.fail, run.state.word)
        run.state.total -= 1
        if run.state.total <= 0:
            run.terminate("done")


class BeatOrPause(Beat):
    name = "beat-or-pause"
    on_exhausted = "pause"


class BeatOrEnd(Beat):
    name = "beat-or-end"
    on_exhausted = "terminate"


class BeatShown(Beat):
    name = "beat-shown"
    include_state_in_events = True


class Rest(ContinuousJob[Basket]):
    """Ticks once a day; the tests trigger it."""

    name = "rest"
    schedule = Every(timedelta(days=1))
    start_immediately = False

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        run.state.total += 1


class Unlucky(Rest):
    """Fails for ever, but for no longer than `max_duration`."""

    name = "unlucky"
    retry = Retry(initial=SOON, max_duration=timedelta(milliseconds=600), jitter=False)

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        raise KeyError("never")


class Handle(TaskJob[Item, Basket, int]):
    """Handles items; `word` says what else it does."""

    name = "handle"
    retry = QUICK

    async def on_event(self, run: TaskRun[Basket], event: Item) -> int:
        fail_if_asked(run.attempt, event.fail, event.word)
        run.state.total += event.n
        if event.word == "alarm":
            run.schedule(timedelta(milliseconds=50))
        if event.word == "end":
            run.terminate("closed")
        return run.state.total

    async def execute(self, run: TaskRun[Basket]) -> None:
        run.state.word += "a"
        if run.execute_count == 1:
            run.schedule(timedelta(milliseconds=30))


class HandleOrPause(Handle):
    name = "handle-or-pause"
    on_exhausted = "pause"


class HandleOrEnd(Handle):
    name = "handle-or-end"
    on_exhausted = "terminate"


class HandleShown(Handle):
    name = "handle-shown"
    include_state_in_events = True


class Careful(Handle):
    """With the optional handlers, each of which sets the alarm."""

    name = "careful"

    async def execute(self, run: TaskRun[Basket]) -> None:
        run.state.word += "a"
        if run.execute_count == 2:
            run.terminate("twice")

    async def on_idle(self, run: TaskRun[Basket]) -> None:
        run.schedule(timedelta(milliseconds=20))

    async def on_error(self, run: TaskRun[Basket], error: RunFailure) -> None:
        run.schedule(timedelta(milliseconds=20))


def all_jobs() -> list[Any]:
    """One instance of each."""
    return [
        Gather(),
        GatherLater(),
        GatherOn(),
        GatherOrEnd(),
        GatherOnce(),
        GatherShown(),
        GatherByCount(),
        Beat(),
        BeatOrPause(),
        BeatOrEnd(),
        BeatShown(),
        Rest(),
        Unlucky(),
        Handle(),
        HandleOrPause(),
        HandleOrEnd(),
        HandleShown(),
        Careful(),
    ]
