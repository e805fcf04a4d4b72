"""What an instance does while its whole job is paused: workers begin none of its runs."""

from datetime import datetime, timedelta

import pytest

from durable_jobs import Retry
from durable_jobs.definitions import Job
from tests.machines.attempts import BASES, begun
from tests.machines.jobs import MINUTE, SECOND, Triage
from tests.support.scripted_worker import JOB_PAUSE_NOTE, JOB_PAUSED, ScriptedWorker
from tests.support.simulation import Simulation

ONCE = Retry(1)
"""So that an attempt that counted would end the run."""


def paused(base: type[Job], times: int) -> tuple[Simulation, ScriptedWorker]:
    """An instance with a run that workers refuse to begin so often."""
    return begun(base, *[JOB_PAUSED] * times, retry=ONCE)


def next_look(sim: Simulation) -> timedelta:
    return datetime.fromisoformat(str(sim.status["nextRunAt"])) - sim.now


@pytest.mark.parametrize("base", BASES)
def test_a_run_of_a_paused_job_waits_and_says_why(base: type[Job]) -> None:
    sim, worker = paused(base, 1)
    status = sim.status
    assert (status["status"], status["pausedBy"]) == ("paused", "job")
    assert status["pauseNote"] == JOB_PAUSE_NOTE
    assert not worker.ran
    [told] = sim.told("job.paused")
    assert (told["by"], told["note"]) == ("job", JOB_PAUSE_NOTE)
    assert not sim.told("job.failed")


@pytest.mark.parametrize("base", BASES)
def test_the_run_begins_as_its_first_attempt_once_the_job_goes_on(base: type[Job]) -> None:
    sim, worker = paused(base, 2)
    sim.advance(MINUTE)
    assert (worker.ran[0].attempt, worker.ran[0].run_count) == (1, 1)
    assert sim.status["pausedBy"] is None
    assert len(sim.told("job.paused")) == 1
    assert [told["by"] for told in sim.told("job.resumed")] == ["job"]
    kinds = [event["type"] for event in sim.told()]
    assert kinds.index("job.resumed") < kinds.index("job.executed")


def test_it_looks_again_after_as_long_as_it_has_waited_but_every_15_minutes() -> None:
    sim, worker = paused(Triage, 1_000)
    waits = [next_look(sim)]
    for _ in range(12):
        sim.advance(waits[-1])
        waits.append(next_look(sim))
    assert waits[:4] == [5 * SECOND, 5 * SECOND, 10 * SECOND, 20 * SECOND]
    assert waits[-1] == 15 * MINUTE
    assert not worker.ran


@pytest.mark.parametrize("base", BASES)
def test_resume_looks_at_once(base: type[Job]) -> None:
    sim, worker = paused(base, 1)
    sim.send("resume")
    sim.settle()
    assert worker.ran


@pytest.mark.parametrize("base", BASES)
def test_a_callers_pause_outlives_that_of_the_job(base: type[Job]) -> None:
    sim, worker = paused(base, 1)
    sim.send("pause", text="ben: mine")
    sim.settle()
    assert (sim.status["pausedBy"], sim.status["pauseNote"]) == ("user", "ben: mine")
    assert [told["by"] for told in sim.told("job.paused")] == ["job", "user"]
    sim.advance(MINUTE)
    assert worker.ran
    assert sim.status["status"] == "paused"
    assert not sim.told("job.resumed")


@pytest.mark.parametrize("base", BASES)
def test_an_instance_of_a_paused_job_can_be_ended(base: type[Job]) -> None:
    sim, worker = paused(base, 1_000)
    sim.send("terminate", text="enough")
    sim.settle()
    assert sim.told("job.terminated")[0]["reason"] == "enough"
    assert not worker.ran
