"""What the machines of all types decide alike: how lives begin, pause, go on and end."""

from typing import Any

import pytest

from durable_jobs.definitions import Job
from tests.machines.commotion import BRINGS
from tests.machines.jobs import SECOND, Deliver, Digest, Poll, Triage, simulated

JOBS: list[Job] = [Digest(), Poll(), Triage(), Deliver()]
STARTED = [Poll(), Triage(), Deliver()]


def _named(job: Any) -> str:
    return type(job).__name__


@pytest.mark.parametrize("job", STARTED, ids=_named)
def test_a_life_that_ends_before_it_could_begin_is_told_from_its_start(job: Job) -> None:
    sim, _ = simulated(job, options=job.options())
    sim.machine.outbox.track(sim.options.tracking)
    sim.send("terminate")
    assert sim.types() == ["job.started", "job.terminated"]


@pytest.mark.parametrize("job", STARTED, ids=_named)
def test_a_life_begins_once_though_it_continued_as_new_before(job: Job) -> None:
    sim, worker = simulated(job)
    if job.job_type in BRINGS:
        sim.post(BRINGS[job.job_type], 1)
    sim.turn()
    assert sim.asked
    while sim.asked:
        # As in the driver: what was answered is taken up, and continue-as-new is due.
        sim.take()
    assert sim.carry()
    sim.settle()
    assert sim.carry()
    sim.settle()
    assert sim.types() == ["job.started", "job.executed"]
    assert len(worker.ran) == 1


@pytest.mark.parametrize("job", JOBS, ids=_named)
def test_an_answer_that_cannot_be_read_is_asked_for_again_a_little_later(job: Job) -> None:
    sim, _ = simulated(job)
    sim.asks_answered = False
    if job.job_type in BRINGS:
        sim.post(BRINGS[job.job_type], 1)
    sim.settle()
    for _ in range(3):
        sim.answer_asked("the answer cannot be read")
        sim.settle()
        assert sim.asked is None
        assert sim.status["lastError"] == "the answer cannot be read"
        sim.advance(5 * SECOND)
        assert sim.asked is not None
    sim.asks_answered = True
    sim.answer_asked()
    sim.settle()
    assert sim.machine.options is not None


@pytest.mark.parametrize("job", STARTED, ids=_named)
def test_a_pause_that_comes_before_the_start_could_be_told_is_told_after_it(job: Job) -> None:
    sim, _ = simulated(job)
    sim.send("pause", text="not yet")
    sim.send("resume")
    assert sim.types()[:3] == ["job.started", "job.paused", "job.resumed"]
