"""Jobs for the tests of traces."""

from datetime import timedelta

from opentelemetry import trace
from pydantic import BaseModel

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    NonRetryable,
    Retry,
    RetryAfter,
    Snooze,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
    collect,
)

SECOND = timedelta(seconds=1)
AGAIN = Retry(3, initial=SECOND, backoff="fixed", jitter=False)


class Order(BaseModel):
    """What a handler reads in vain."""

    number: int


class Digest(DebounceJob[int, list[int]]):
    """Gathers numbers."""

    name = "digest"
    quiet_for = timedelta(milliseconds=200)
    reduce = collect

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        """Tell a thread."""
        if 99 in run.state:
            await run.jobs.task(Thread, run.key).send("from a digest")


class Thread(TaskJob[str, list[str], str]):
    """Does as an event says."""

    name = "thread"
    retry = AGAIN

    async def on_event(self, run: TaskRun[list[str]], event: str) -> str:
        """Fail in several ways."""
        with trace.get_tracer("the user's").start_as_current_span("its own work"):
            pass
        match event:
            case "never":
                raise NonRetryable("as asked")
            case _ if event.startswith("card "):
                Order.model_validate({"number": event})
            case "once" if not run.is_retry:
                raise ValueError("not yet")
            case "later" if not run.is_retry:
                raise RetryAfter(SECOND, "busy")
            case "snooze" if not run.state:
                run.state.append("awake")
                await run.checkpoint()
                raise Snooze(SECOND)
            case _:
                pass
        return event.upper()

    async def execute(self, run: TaskRun[list[str]]) -> None:
        """Nothing."""


class Plain(TaskJob[str, list[str]]):
    """Has a handler that runs in a thread."""

    name = "plain"

    def on_event(self, run: TaskRun[list[str]], event: str) -> None:
        """Do something of its own."""
        with trace.get_tracer("the user's").start_as_current_span("its own work"):
            pass

    def execute(self, run: TaskRun[list[str]]) -> None:
        """Nothing."""


class Deliver(WorkerPoolJob[int]):
    """Works a queue off."""

    name = "deliver"
    concurrency = 1

    async def execute(self, run: WorkerPoolRun[int]) -> None:
        """Nothing."""


class Poll(ContinuousJob[int]):
    """Ticks."""

    name = "poll"
    schedule = Every(timedelta(seconds=1))
    max_runs = 2

    async def execute(self, run: ContinuousRun[int]) -> None:
        """Nothing."""
