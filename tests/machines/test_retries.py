"""What follows an attempt that did not succeed."""

from datetime import timedelta
from typing import Any

import pytest

from durable_jobs import Retry
from durable_jobs.definitions import Job
from tests.machines.attempts import BASES, begun
from tests.machines.commotion import BRINGS
from tests.machines.jobs import MINUTE, SECOND, Digest, Poll, in_turn, simulated
from tests.machines.jobs import with_options as job_with
from tests.support.scripted_worker import LATER_IN, SNOOZED_FOR
from tests.support.simulation import Simulation

NOW = {"Digest": "flush", "Poll": "trigger", "Triage": "trigger", "Deliver": "trigger"}


def fixed(most: int | None = None, **given: Any) -> Retry:
    return Retry(most, initial=10 * SECOND, backoff="fixed", jitter=False, **given)


def told(sim: Simulation) -> list[tuple[Any, ...]]:
    """The failed attempts: number, and whether another was to follow."""
    return [(event["attempt"], event["willRetry"]) for event in sim.told("job.failed")]


@pytest.mark.parametrize("base", BASES)
def test_a_run_fails_for_good_with_its_last_attempt(base: type[Job]) -> None:
    sim, worker = begun(base, "fail", "lost", "fail", retry=fixed(3))
    sim.advance(20 * SECOND)
    assert told(sim) == [(1, True), (2, True), (3, False)]
    [exhausted] = sim.told("job.retryExhausted")
    assert (exhausted["attempts"], exhausted["reason"]) == (3, "max_attempts")
    assert len({run.key for run in worker.ran}) == 1
    assert sim.status["status"] == "paused"


@pytest.mark.parametrize("base", BASES)
def test_a_lost_last_attempt_fails_the_run(base: type[Job]) -> None:
    sim, _ = begun(base, "lost", retry=fixed(1))
    assert told(sim) == [(1, False)]
    assert not sim.told("job.retryExhausted")
    assert sim.status["status"] == "paused"


@pytest.mark.parametrize("base", BASES)
def test_no_attempt_begins_after_max_duration(base: type[Job]) -> None:
    sim, worker = begun(base, *["fail"] * 9, retry=fixed(max_duration=25 * SECOND))
    sim.advance(MINUTE / 2)
    assert told(sim) == [(1, True), (2, True), (3, False)]
    [exhausted] = sim.told("job.retryExhausted")
    assert exhausted["reason"] == "max_duration"
    assert worker.ran[2].at - worker.ran[0].at == 20 * SECOND


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("verb", ["now", "resume"])
def test_a_caller_ends_a_backoff_and_the_same_run_goes_on(base: type[Job], verb: str) -> None:
    sim, worker = begun(base, "later", retry=fixed())
    at = sim.now
    assert sim.carry()
    assert sim.status["status"] == "retrying"
    sim.send(NOW[base.__name__] if verb == "now" else verb)
    assert [(run.attempt, run.at) for run in worker.ran] == [(1, at), (2, at)]
    assert worker.ran[0].key == worker.ran[1].key
    assert sim.told("job.executed")[0]["attempt"] == 2


@pytest.mark.parametrize("base", BASES)
def test_an_attempt_begins_when_its_error_asks_for_it(base: type[Job]) -> None:
    sim, worker = begun(base, "later", retry=fixed(2))
    sim.advance(LATER_IN)
    assert worker.ran[1].at - worker.ran[0].at == LATER_IN


@pytest.mark.parametrize("base", BASES)
def test_a_snooze_counts_for_nothing(base: type[Job]) -> None:
    words = ["snooze", "snooze", "fail", "snooze"]
    sim, worker = begun(base, *words, retry=fixed(2, max_duration=MINUTE / 2))
    sim.advance(3 * SNOOZED_FOR + 10 * SECOND)
    found = [(run.attempt, run.word) for run in worker.ran if run.run_count == 1]
    assert found == [(1, "snooze"), (1, "snooze"), (1, "fail"), (2, "snooze"), (2, "ok")]
    assert told(sim) == [(1, True)]
    assert not sim.told("job.retryExhausted")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("word", ["fail", "lost", "snooze"])
def test_a_checkpoint_comes_to_the_next_attempt_and_ends_with_the_run(
    base: type[Job], word: str
) -> None:
    sim, worker = simulated(job_with(base, retry=fixed()), in_turn(word))
    worker.checkpoint_at = 41
    if base.job_type in BRINGS:
        sim.send(BRINGS[base.job_type], 1)
    sim.advance(5 * SECOND)
    assert sim.carry()
    sim.advance(SNOOZED_FOR)
    first, second = sim.attempts[:2]
    assert first.checkpoint is None
    assert second.checkpoint is not None
    assert second.checkpoint.state == 41
    assert second.first_started_at is not None
    sim.advance(2 * MINUTE)
    if base.job_type in BRINGS:
        sim.send(BRINGS[base.job_type], 2)
        sim.advance(MINUTE)
    assert sim.attempts[2].checkpoint is None
    assert sim.attempts[2].run_count != second.run_count or base is Digest


@pytest.mark.parametrize("base", BASES)
def test_what_was_no_attempt_leaves_no_trace(base: type[Job]) -> None:
    sim, worker = begun(base, "gone", "cut", retry=fixed(1))
    sim.advance(6 * SECOND)
    assert [(run.attempt, run.word) for run in worker.ran if run.run_count == 1] == [
        (1, "cut"),
        (1, "ok"),
    ]
    assert told(sim) == []


def test_by_default_a_tick_is_tried_again_until_the_next_is_due() -> None:
    sim, worker = simulated(Poll(), lambda request: "fail" if request.run_count == 1 else "ok")
    sim.advance(MINUTE)
    assert [run.attempt for run in worker.ran] == [1, 2, 3, 4, 5, 6, 1]
    assert told(sim)[-1] == (6, False)
    assert worker.ran[-1].at - worker.ran[0].at == timedelta(minutes=1)
