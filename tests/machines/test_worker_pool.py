"""What an instance of a worker pool decides."""

from durable_jobs.errors import NonRetryable
from durable_jobs.protocol import Report
from durable_jobs.workflows.machines.run import Failed
from tests.machines.jobs import Deliver, Lettered, in_turn, simulated, with_options
from tests.support.scripted_worker import ScriptedWorker
from tests.support.simulation import Simulation


def test_what_clear_discarded_is_told_after_continue_as_new() -> None:
    sim, _ = simulated(Deliver())
    sim.send("pause")
    sim.send("enqueue", 1, 2)
    assert sim.send("clear") == {"discardedEvents": 2}
    assert sim.carry()
    assert sim.status["discardedEvents"] == 2
    sim.send("terminate")
    [ended] = sim.told("job.terminated")
    assert ended["discardedEvents"] == 2


def test_an_end_before_on_dead_letter_is_called_counts_its_event_as_discarded() -> None:
    sim, _ = simulated(Lettered(), in_turn("hold"))
    sim.send("enqueue", 1)
    sim.end_attempt(Failed(_final(sim)))
    sim.post("terminate")
    sim.settle()
    [ended] = sim.told("job.terminated")
    assert ended["discardedEvents"] == 1


def test_an_end_while_on_dead_letter_is_tried_again_is_told_once() -> None:
    job = with_options(Lettered, on_exhausted="terminate")
    sim, worker = simulated(job, in_turn("final", "fail"))
    sim.send("enqueue", 1)
    assert [run.handler for run in worker.ran] == ["execute", "on_dead_letter"]
    sim.send("terminate")
    [ended] = sim.told("job.terminated")
    assert (ended["ended"], ended["discardedEvents"]) == ("terminated", 1)


def _final(sim: Simulation) -> Report:
    request = sim.attempts[-1]
    return ScriptedWorker(sim.job).report(request, NonRetryable("never"), sim.now)
