"""What a typed status tells of a task, without a server."""

from datetime import timedelta

from durable_jobs import JobStatus, TaskJob, TaskRun
from durable_jobs.testing import Simulation


class Reminder(TaskJob[str, int]):
    """Each event sets the alarm anew."""

    name = "status-reminder"

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        run.schedule(timedelta(minutes=5))

    async def execute(self, run: TaskRun[int]) -> None:
        run.state += 1


def status_of(sim: Simulation) -> JobStatus:
    status = sim.task(Reminder, "ann").status()
    assert status is not None
    return status


def test_a_task_counts_its_events_and_its_alarms() -> None:
    sim = Simulation(Reminder())
    for _ in range(3):
        sim.task(Reminder, "ann").send("later")
        sim.advance("10m")
    status = status_of(sim)
    assert (status.handled_events, status.execute_count, status.run_count) == (3, 3, 6)


def test_an_ended_instance_says_why_it_ended_and_a_living_one_nothing() -> None:
    sim = Simulation(Reminder())
    sim.task(Reminder, "ann").send("later")
    sim.advance("1m")
    assert status_of(sim).reason is None
    sim.task(Reminder, "ann").terminate("closed by ann")
    sim.advance("1s")
    status = status_of(sim)
    assert (status.status, status.reason) == ("terminated", "closed by ann")
