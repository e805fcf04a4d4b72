"""A machine restored from its snapshot, at any moment, decides as one that never was stored."""

import random
from datetime import timedelta
from typing import Any

import pytest

from durable_jobs.definitions import Job
from tests.machines.commotion import BRINGS, WORDS, Commotion
from tests.machines.jobs import SECOND, Careful, Digest, Lettered, Poll, with_options

JOBS: dict[str, Job] = {
    "digest": with_options(Digest, quiet_for=2 * SECOND, leading=True, dedupe_for=40 * SECOND),
    "pausing": with_options(Digest, max_events=7),
    "going-on": with_options(Digest, max_events=7, on_exhausted="continue"),
    "poll": with_options(Poll, catch_up="one", max_runs=40),
    "triage": with_options(Careful, idle_timeout=timedelta(minutes=5)),
    "deliver": with_options(Lettered, on_exhausted="pause"),
}
# How often a worker was searched for in vain does not travel.
STEADY = {word: weight for word, weight in WORDS.items() if word not in ("gone", "hold", "cut")}


@pytest.mark.parametrize("name", JOBS)
def test_continue_as_new_at_any_moment_changes_nothing(name: str) -> None:
    carried = 0
    for seed in range(25):
        stays = Commotion(JOBS[name], seed, words=STEADY)
        moves = Commotion(JOBS[name], seed, words=STEADY)
        stays.carries = False
        chance = random.Random(seed)
        for _ in range(70):
            _same_step(stays, moves)
            if chance.random() < 0.5:
                moves.sim.carry()
                moves.sim.settle()
            assert _seen(stays) == _seen(moves)
        carried += moves.sim.carried
        assert not stays.sim.carried
    assert carried > 100


def _same_step(stays: Commotion, moves: Commotion) -> None:
    for each in (stays, moves):
        each.carries = False
        each.step()
        each.sim.settle()
        each.sim.machine.carry_due = True


def _seen(commotion: Commotion) -> Any:
    sim = commotion.sim
    status = {name: value for name, value in sim.status.items() if name != "tracking"}
    return status, sim.attempts, sim.told(), sim.timer if not sim.finished else None, sim.lives


@pytest.mark.parametrize("job", [Careful(), Lettered(), Digest()], ids=lambda job: job.name)
def test_events_that_nobody_has_taken_up_travel_in_their_order(job: Job) -> None:
    commotion = Commotion(job, 0)
    sim = commotion.sim
    sim.send("pause")
    for number in range(1, 13):
        sim.send(BRINGS[job.job_type], number)
        assert sim.carry()
    commotion.words = {"ok": 1}
    sim.send("resume")
    sim.advance(timedelta(minutes=1))
    ran = commotion.worker.succeeded
    found = ran[0] if job.job_type == "debounce" else [value for value in ran if value is not None]
    assert found == list(range(1, 13))
