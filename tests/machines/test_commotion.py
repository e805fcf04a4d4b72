"""Whatever callers and workers do, in whatever order: the books of each machine balance.

More of it, each seed another play of 80 steps for each of the jobs:

    DURABLE_JOBS_MACHINE_SEEDS=1000 .venv/bin/python -m pytest tests/machines/test_commotion.py
"""

import os

import pytest

from durable_jobs.definitions import Job
from durable_jobs.workflows.machines import gathered
from tests.machines.commotion import Commotion
from tests.machines.jobs import (
    SECOND,
    Careful,
    Deliver,
    Digest,
    Lettered,
    Poll,
    Triage,
    with_options,
)

SEEDS = int(os.environ.get("DURABLE_JOBS_MACHINE_SEEDS", "25"))
JOBS: dict[str, Job] = {
    f"{base.__name__}-{rule}": with_options(base, on_exhausted=rule)
    for base in (Digest, Poll, Triage, Careful, Deliver, Lettered)
    for rule in ("continue", "pause", "terminate")
}


@pytest.mark.parametrize("name", JOBS)
def test_each_event_runs_once_or_waits_or_is_accounted_for(name: str) -> None:
    for seed in range(SEEDS):
        commotion = Commotion(JOBS[name], seed)
        for _ in range(80):
            commotion.step()
            commotion.check_books()
        commotion.calm()
        commotion.check_books()
        commotion.check_tracking()


FOLDING = [
    with_options(Digest, leading=True, quiet_for=2 * SECOND),
    with_options(Digest, max_events=20, on_exhausted="continue"),
    with_options(Digest, max_events=20, flush_after=None),
]


@pytest.mark.parametrize("job", FOLDING)
def test_so_it_is_where_events_are_folded_ahead(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "FOLD_EVENTS", 3)
    for seed in range(SEEDS):
        commotion = Commotion(job, seed)
        for _ in range(80):
            commotion.sim.machine.carry_due = True
            commotion.step()
            commotion.check_books()
        commotion.calm()
        commotion.check_books()
        commotion.check_tracking()
