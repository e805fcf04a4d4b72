"""What a type checker says of the test kit: `make types` reads this file, no test runs it.

Each ignore below stands for an error that must be there: one that is not needed is an error.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from durable_jobs import ContinuousJob, DebounceJob, JobStatus, TaskJob, WorkerPoolJob
from durable_jobs.testing import LiveJobs, Outcome, Simulation, run_job


def debounce(job: DebounceJob[str, list[int]]) -> None:
    assert_type(run_job(job, events=["event"]), Outcome[list[int], None])
    run_job(job, events=["event"], state=[1], attempt=2)
    run_job(job, events=[1])  # pyright: ignore[reportArgumentType, reportCallIssue]
    run_job(job, handler="on_idle")  # pyright: ignore[reportArgumentType, reportCallIssue]


def others(
    poll: ContinuousJob[int], triage: TaskJob[str, list[str], bool], pool: WorkerPoolJob[int]
) -> None:
    assert_type(run_job(poll).state, int)
    assert_type(run_job(triage, events=["event"]).reply, bool)
    assert_type(run_job(pool, events=[1]), Outcome[None, None])


def driven(sim: Simulation, live: LiveJobs, job: type[TaskJob[str, list[str], bool]]) -> None:
    assert_type(sim.task(job, "key").ask("event"), bool)
    assert_type(live.task(job, "key").state(), list[str] | None)
    assert_type(sim.run(sim.jobs.task(job, "key").status()), JobStatus | None)
    sim.task(job, "key").send(1)  # pyright: ignore[reportArgumentType]
