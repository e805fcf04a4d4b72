"""Instances of each job type whose run has made its first attempt."""

from durable_jobs import Retry
from durable_jobs.definitions import Job
from tests.machines.commotion import BRINGS
from tests.machines.jobs import Deliver, Digest, Poll, Triage, in_turn, simulated
from tests.machines.jobs import with_options as job_with
from tests.support.scripted_worker import ScriptedWorker
from tests.support.simulation import Simulation

BASES: list[type[Job]] = [Digest, Poll, Triage, Deliver]


def begun(base: type[Job], *words: str, retry: Retry) -> tuple[Simulation, ScriptedWorker]:
    """An instance whose run has made its first attempt."""
    sim, worker = simulated(job_with(base, retry=retry, on_exhausted="pause"), in_turn(*words))
    if base.job_type in BRINGS:
        sim.send(BRINGS[base.job_type], 1)
        if base is Digest:
            sim.send("flush")
    sim.settle()
    return sim, worker
