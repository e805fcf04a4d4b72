"""What a task instance decides."""

from durable_jobs.errors import NonRetryable
from durable_jobs.spans import LONGEST
from durable_jobs.workflows.machines.run import Failed
from tests.machines.jobs import Careful, Triage, in_turn, simulated
from tests.support.scripted_worker import ScriptedWorker


def test_an_end_before_on_error_is_called_counts_its_event_as_discarded() -> None:
    sim, _ = simulated(Careful(), in_turn("hold"))
    sim.send("send", 1)
    report = ScriptedWorker(sim.job).report(sim.attempts[-1], NonRetryable("never"), sim.now)
    sim.end_attempt(Failed(report))
    sim.post("terminate")
    sim.settle()
    [ended] = sim.told("job.terminated")
    assert ended["discardedEvents"] == 1


def test_an_alarm_may_be_set_to_the_end_of_time() -> None:
    sim, worker = simulated(Triage())
    worker.detail = lambda request: {"scheduled_at": "9999-12-31T23:59:59.999999+00:00"}
    sim.send("send", 1)
    assert sim.status["status"] == "scheduled"
    assert sim.timer is not None
    assert sim.timer - sim.now <= LONGEST
    sim.send("send", 2)
    assert worker.succeeded == [1, 2]
