"""Random scripts: callers that call, handlers that do as their events say, time that passes."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Cron,
    DebounceJob,
    DebounceRun,
    Every,
    JobClient,
    NonRetryable,
    Retry,
    RetryAfter,
    RunFailure,
    Snooze,
    TaskJob,
    TaskRun,
    WorkerPoolJob,
    WorkerPoolRun,
)
from durable_jobs.definitions import Job
from durable_jobs.definitions.run import Run

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
FIXED = Retry(3, initial=10 * SECOND, backoff="fixed", jitter=False)


class Order(BaseModel):
    """An event, and what its handler is to do."""

    number: int = 0
    act: str = "go on"


ACTS = {
    "go on": 20,
    "fail once": 5,
    "fail": 3,
    "fail for good": 2,
    "later": 2,
    "slow": 3,
    "snooze": 2,
    "too slow": 1,
    "checkpoint": 2,
    "alarm": 3,
    "end": 1,
    "tell": 2,
    "refuse": 2,
}


ERRORS: dict[str, Callable[[], Exception]] = {
    "fail": lambda: ValueError("each attempt fails"),
    "fail for good": lambda: NonRetryable("never again"),
}
FIRST_ERRORS: dict[str, Callable[[], Exception]] = {
    "fail once": lambda: ValueError("the first attempt fails"),
    "checkpoint": lambda: ValueError("it has a checkpoint"),
    "later": lambda: RetryAfter(25 * SECOND),
}
TAKES = {"slow": 3, "too slow": 1_000}


async def obey(job: Job, run: Run[Any], act: str) -> None:
    """Do what an event says."""
    if act == "checkpoint":
        await run.checkpoint()
    fail(job, run, act)
    if act in TAKES and not run.is_retry:
        await asyncio.sleep(TAKES[act])
    if act == "alarm":
        schedule(run)
    if act == "end":
        run.terminate("as told")
    if act == "tell":
        await run.jobs.debounce(Told, "of it").add(Order(number=run.run_count))


def fail(job: Job, run: Run[Any], act: str) -> None:
    """Raise what an event wants raised."""
    if act == "snooze":
        snooze_once(job, run)
    if act in ERRORS:
        raise ERRORS[act]()
    if act in FIRST_ERRORS and not run.is_retry:
        raise FIRST_ERRORS[act]()


def snooze_once(job: Job, run: Run[Any]) -> None:
    """Put a run off, the first time that it comes."""
    known: set[str] = vars(job).setdefault("snoozed", set())
    if run.idempotency_key not in known:
        known.add(run.idempotency_key)
        raise Snooze(12 * SECOND)


def schedule(run: Run[Any]) -> None:
    """Set what comes next, where a run can."""
    if isinstance(run, TaskRun):
        run.schedule(40 * SECOND)
    if isinstance(run, ContinuousRun):
        run.next_in(7 * SECOND)


class Gather(DebounceJob[Order, list[Order]]):
    name = "gather"
    flush_after = 20 * SECOND
    quiet_for = 8 * SECOND
    max_events = 6
    retry = FIXED
    timeout = MINUTE

    def reduce(self, state: list[Order] | None, event: Order) -> list[Order]:
        if event.act == "refuse":
            raise ValueError("it does not fit")
        return [*(state or []), event]

    async def execute(self, run: DebounceRun[list[Order]]) -> None:
        for event in run.state:
            await obey(self, run, event.act)


class Told(DebounceJob[Order]):
    """What handlers call. Its timers meet no call."""

    name = "told"
    flush_after = 5.0113 * SECOND

    async def execute(self, run: DebounceRun[Order]) -> None: ...


class Poll(ContinuousJob[int]):
    name = "poll"
    schedule = Every(15 * SECOND)
    retry = Retry(initial=4 * SECOND, backoff="fixed", jitter=False)
    timeout = 10 * SECOND
    on_exhausted = "continue"

    async def execute(self, run: ContinuousRun[int]) -> None:
        run.state += 1
        acts = list(ACTS)
        # As the state says, which only runs change.
        await obey(self, run, acts[(run.state * 7) % len(acts)])


class Thread(TaskJob[Order, int, int]):
    name = "thread"
    retry = FIXED
    timeout = MINUTE

    async def on_event(self, run: TaskRun[int], event: Order) -> int:
        run.state += event.number
        await obey(self, run, event.act)
        return run.state

    async def execute(self, run: TaskRun[int]) -> None:
        run.state += 1_000
        if run.execute_count % 3 == 1:
            run.schedule(30 * SECOND)


class Careful(Thread):
    name = "careful"
    idle_timeout = 2 * MINUTE

    async def on_idle(self, run: TaskRun[int]) -> None:
        run.state += 1

    async def on_error(self, run: TaskRun[int], error: RunFailure) -> None:
        run.state -= error.attempts


class Deliver(WorkerPoolJob[Order]):
    name = "deliver"
    concurrency = 2
    retry = FIXED
    timeout = MINUTE

    async def execute(self, run: WorkerPoolRun[Order]) -> None:
        await obey(self, run, run.event.act)


class Lettered(Deliver):
    name = "lettered"
    idle_timeout = 2 * MINUTE

    async def on_dead_letter(self, run: WorkerPoolRun[Order], error: RunFailure) -> None: ...

    async def on_empty(self, run: WorkerPoolRun[None]) -> None: ...


def _with(base: type[Any], **options: Any) -> type[Any]:
    return type(base.__name__, (base,), options)


CHANGES: dict[type[Job], list[dict[str, Any]]] = {
    Gather: [
        {},
        {"leading": True},
        {"dedupe_for": 45 * SECOND},
        {"flush_after": None, "quiet_for": None},
        {"flush_after": 1.5 * SECOND, "quiet_for": None},
    ],
    Poll: [
        {},
        {"schedule": Cron("*/2 * * * *")},
        {"catch_up": "all"},
        {"catch_up": "one", "max_runs": 9},
        {"until": datetime(2026, 1, 5, 9, 6, tzinfo=UTC)},
    ],
    Thread: [{}],
    Careful: [{}, {"idle_timeout": None}],
    Deliver: [{}],
    Lettered: [{}],
}


def random_job(chance: random.Random) -> type[Any]:
    """A job of any type."""
    base = chance.choice(list(CHANGES))
    rule = chance.choice(["continue", "pause", "terminate"])
    return _with(base, on_exhausted=rule, **chance.choice(CHANGES[base]))


class Script:
    """Calls one instance at random; the same seed makes the same calls."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.job = random_job(self._chance)
        self._number = 0

    def jobs(self) -> list[Job]:
        """The jobs that a worker needs for it."""
        return [self.job(), Told()]

    def handle(self, client: JobClient) -> Any:
        """The instance that it is about."""
        makers = {
            "debounce": client.debounce,
            "continuous": client.continuous,
            "task": client.task,
        }
        if self.job.job_type == "workerPool":
            return client.worker_pool(self.job)
        return makers[self.job.job_type](self.job, "k")

    def span(self) -> timedelta:
        """How long until the next call."""
        span: float = self._chance.choice([0, 0, 0.3, 2, 5, 9, 20, 60, 200])
        # No call comes at the very time of a timer: which of them is first is chance.
        return (span + 0.0073) * SECOND

    def call(self, handle: Any) -> tuple[str, Coroutine[Any, Any, Any]]:
        """The next call."""
        match self.job.job_type:
            case "debounce":
                return self._of_debounce(handle)
            case "continuous":
                return self._of_continuous(handle)
            case "task":
                return self._of_task(handle)
            case _:
                return self._of_pool(handle)

    def _one(self, weights: dict[str, int]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]

    def _order(self) -> Order:
        self._number += 1
        return Order(number=self._number, act=self._one(ACTS))

    def _id(self) -> str | None:
        return f"id-{self._chance.randrange(4)}" if self._chance.random() < 0.3 else None

    def _control(self, handle: Any, verb: str) -> tuple[str, Coroutine[Any, Any, Any]]:
        given = ["why"] if verb in ("pause", "resume", "terminate") else []
        return verb, getattr(handle, verb)(*given)

    def _of_debounce(self, handle: Any) -> tuple[str, Coroutine[Any, Any, Any]]:
        verb = self._one(
            {"add": 9, "many": 2, "confirm": 3, "pause": 1, "resume": 2, "flush": 2, "clear": 1}
        )
        match verb:
            case "add":
                return verb, handle.add(self._order(), self._id())
            case "many":
                return verb, handle.add_many([self._order() for _ in range(5)])
            case "confirm":
                return verb, handle.add_confirmed(self._order(), self._id())
            case _:
                return self._control(handle, verb)

    def _of_continuous(self, handle: Any) -> tuple[str, Coroutine[Any, Any, Any]]:
        verb = self._one(
            {"start": 5, "pause": 1, "resume": 2, "trigger": 4, "terminate": 1, "reschedule": 2}
        )
        if verb == "start":
            return verb, handle.start(self._chance.choice([None, 100]))
        if verb == "reschedule":
            rules = [None, Every(31 * SECOND), Cron("*/3 * * * *")]
            return verb, handle.reschedule(self._chance.choice(rules))
        return self._control(handle, verb)

    def _of_task(self, handle: Any) -> tuple[str, Coroutine[Any, Any, Any]]:
        verb = self._one({"send": 9, "ask": 5, "pause": 1, "resume": 2, "trigger": 2, "redrive": 1})
        match verb:
            case "send":
                return verb, handle.send(self._order(), self._id())
            case "ask":
                event_id = self._id() or f"ask-{self._number}"
                return verb, handle.ask(self._order(), event_id, timeout=15 * SECOND)
            case _:
                return self._control(handle, verb)

    def _of_pool(self, handle: Any) -> tuple[str, Coroutine[Any, Any, Any]]:
        verb = self._one(
            {"enqueue": 9, "many": 3, "pause": 1, "resume": 2, "trigger": 1, "redrive": 1}
            | {"drain": 1, "clear": 1}
        )
        key = self._chance.choice(["a", "b"])
        match verb:
            case "enqueue":
                priority = self._chance.randrange(3)
                return verb, handle.enqueue(self._order(), key, self._id(), priority)
            case "many":
                return verb, handle.enqueue_many([self._order() for _ in range(5)], key)
            case _:
                return self._control(handle, verb)
