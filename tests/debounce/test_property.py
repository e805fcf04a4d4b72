"""Whatever callers do and workers suffer: accepted = flushed + rejected + discarded + waiting.

Hypothesis makes up sequences of calls and kills, and prints the one that breaks it. Each is
played on a real server, by worker processes that are killed. More of them:

    make property ARGS=200
"""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from temporalio.client import Client

from durable_jobs import AddReceipt, Busy, DebounceJob, JobClient
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles import DebounceHandle
from tests.support import Python, eventually
from tests.support.counted_jobs import JOBS
from tests.support.jobs import new_key
from tests.support.ledger import ledger_of
from tests.support.scripted import Push
from tests.tracking.collector import Collector

MORE = os.environ.get("DURABLE_JOBS_PROPERTY_EXAMPLES")
"""So many examples, other ones each time; without it a few, always the same."""

ROOT = Path(__file__).parents[2]
EXHAUSTING = ("pausing", "going-on", "ending")
T = TypeVar("T")


class Stage:
    """An event loop in its own thread, and on it a client, a collector and a worker process."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.queue = f"test-{new_key()}"
        self.loop = asyncio.new_event_loop()
        self.collector = Collector()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._workers = ExitStack()
        self.kills = 0
        self.counted = 0
        """Events that were accepted, in all examples."""

        self.played: list[str] = []
        """The steps of the example at hand."""

    def __enter__(self) -> "Stage":
        self._thread.start()
        self.run(self.collector.start())
        self.client = self.run(Client.connect(self.target))
        self.jobs = self.run(self._make_client())
        self._start_worker()
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()
        self.run(self.collector.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    async def _make_client(self) -> JobClient:
        return JobClient(self.client, task_queue=self.queue)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop, within two minutes."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(timeout=120)

    def play(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Do a step. Hypothesis does not show what failed once only, so this does."""
        self.played.append(what)
        try:
            return self.run(work)
        except BaseException:
            print("failed after:", *self.played, sep="\n  ")  # noqa: T201
            raise

    def _start_worker(self) -> None:
        where = (self.target, self.queue, self.collector.url)
        self.worker = Python("-m", "tests.support.counted_jobs", *where, cwd=ROOT)
        self._workers.enter_context(self.worker)

    def kill_worker(self) -> None:
        """Kill it in the middle of whatever it does; another one takes over."""
        self.kills += 1
        self.worker.signal(signal.SIGKILL)
        self._start_worker()


class Instance(RuleBasedStateMachine):
    """One debounce instance, and what its callers know."""

    stage: Stage
    handle: DebounceHandle[Push, Any]

    @initialize(job=st.sampled_from(JOBS))
    def choose(self, job: type[DebounceJob[Push, Any]]) -> None:
        self.handle = self.stage.jobs.debounce(job, new_key())
        self.stage.played = [job.name]
        self.number = 0
        self.accepted: set[int] = set()

    def _next(self, note: str = "") -> Push:
        self.number += 1
        return Push(n=self.number, note=note)

    @rule(count=st.integers(1, 4), note=st.sampled_from(["", "", "", "raise"]))
    def add(self, count: int, note: str) -> None:
        pushes = [self._next(note) for _ in range(count)]

        async def adding() -> None:
            await asyncio.gather(*(self.handle.add(push) for push in pushes))

        self.stage.play(f"add {count} {note}", adding())
        self.accepted.update(push.n for push in pushes)

    @rule(count=st.integers(2, 120))
    def add_many(self, count: int) -> None:
        pushes = [self._next() for _ in range(count)]
        self.stage.play(f"add_many {count}", self.handle.add_many(pushes))
        self.accepted.update(push.n for push in pushes)

    @rule()
    def add_one_delivery_twice(self) -> None:
        first, again = self._next(), self._next()
        twice = self.handle.add_many([first, again], ids=[f"d{first.n}"] * 2)
        self.stage.play("add one delivery twice", twice)
        self.accepted.add(first.n)

    @rule(event_id=st.sampled_from(["a", "b", None]), note=st.sampled_from(["", "", "raise"]))
    def add_confirmed(self, event_id: str | None, note: str) -> None:
        push = self._next(note)
        # Where runs fail for good, an id taken meanwhile may be found out to be known: see
        # test_an_id_that_an_exhausted_run_brings_back_is_rejected.
        if self.handle.job_name in EXHAUSTING:
            event_id = None
        receipt = self.stage.play(
            f"add_confirmed {event_id} {note}", self._confirmed(push, event_id)
        )
        if receipt is not None and not receipt.duplicate:
            self.accepted.add(push.n)

    async def _confirmed(self, push: Push, event_id: str | None) -> AddReceipt | None:
        try:
            return await self.handle.add_confirmed(push, id=event_id)
        except Busy:
            # An end may take longer than a caller waits for it, as where a worker was killed.
            return None

    @rule()
    def add_what_does_not_fit(self) -> None:
        self.number += 1
        wrong = self._signal("add", {"n": [self.number], "note": 7})
        self.stage.play("add what does not fit", wrong)
        self.accepted.add(self.number)

    @rule(argument=st.sampled_from([5, {"events": []}, None]))
    def add_what_is_no_event(self, argument: Any) -> None:
        self.stage.play(f"add_batch {argument}", self._signal("add_batch", argument))

    async def _signal(self, name: str, argument: Any) -> None:
        handle = self.handle
        await self.stage.client.start_workflow(
            "DebounceJob",
            {"job": handle.job_name, "key": handle.key},
            id=handle.instance_id,
            task_queue=self.stage.queue,
            start_signal=name,
            start_signal_args=[argument],
        )

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.2, 0.35]))
    def wait(self, seconds: float) -> None:
        self.stage.play(f"wait {seconds}", asyncio.sleep(seconds))

    @rule(
        verb=st.sampled_from(["flush", "flush", "pause", "resume", "resume", "clear", "terminate"])
    )
    def control(self, verb: str) -> None:
        self.stage.play(verb, getattr(self.handle, verb)())

    @rule(dice=st.integers(0, 3))
    def kill_the_worker(self, dice: int) -> None:
        if dice == 3:
            self.stage.played.append("kill")
            self.stage.kill_worker()

    def teardown(self) -> None:
        if hasattr(self, "number") and self.accepted:
            self.stage.play("balance", self._balance())
            self.stage.counted += len(self.accepted)

    async def _balance(self) -> None:
        self._waiting = await eventually(self._count_waiting, within=40)
        await self.handle.terminate()
        # A delivery that was lost with a killed worker is taken up after 20 s.
        await eventually(self._adds_up, within=60, every=0.1)

    async def _count_waiting(self) -> tuple[int]:
        """Nothing runs or is about to, so that what waits can be counted."""
        status = await self.handle.status()
        assert status is not None
        over = status.status in ("completed", "terminated", "failed")
        at_rest = status.status in ("idle", "paused") or self.handle.job_name == "held"
        assert over or (at_rest and status.status not in ("running", "retrying", "terminating"))
        return (0 if over else status.event_count,)

    async def _adds_up(self) -> bool:
        """What waited was discarded by the `terminate` at the end, wherever it was not judged."""
        ledger = await ledger_of(self.stage.client, [self.handle.instance_id])
        tracked = self._tracked()
        discarded = sum(event["discardedEvents"] for event in tracked if "discardedEvents" in event)
        settled = len(ledger.flushed) + len(ledger.rejected)
        assert ledger.twice == []
        assert {*ledger.flushed, *ledger.rejected} <= self.accepted
        told = [(e["executionId"][-4:], e["sequence"], e["type"]) for e in tracked]
        assert len(self.accepted) == settled + discarded, (self._waiting, discarded, sorted(told))
        assert self._waiting[0] <= discarded
        return True

    def _tracked(self) -> list[dict[str, Any]]:
        mine = [
            event
            for event in self.stage.collector.accepted
            if event["instanceId"] == self.handle.instance_id
        ]
        return list({event["eventId"]: event for event in mine}.values())


@pytest.fixture
def stage(server: EmbeddedServer) -> Iterator[Stage]:
    with Stage(server.target) as stage:
        yield stage


def test_every_accepted_event_is_flushed_once_or_rejected_or_discarded_or_waits(
    stage: Stage,
) -> None:
    Instance.stage = stage
    run_state_machine_as_test(
        Instance,
        settings=settings(
            max_examples=int(MORE or 20),
            stateful_step_count=15,
            derandomize=MORE is None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            database=None,
        ),
    )
    print(f"{stage.counted} events accepted, {stage.kills} kills")  # noqa: T201
    assert stage.counted > 100
