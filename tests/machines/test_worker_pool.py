"""What an instance of a worker pool decides."""

from durable_jobs.errors import NonRetryable
from durable_jobs.protocol import Report
from durable_jobs.workflows.machines.run import Failed, Lost
from durable_jobs.workflows.machines.texts import EventText
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


def test_on_dead_letter_can_end_the_instance() -> None:
    sim, worker = simulated(Lettered(), in_turn("final", "end"))
    sim.send("enqueue", 1)
    [ended] = sim.told("job.terminated")
    assert (ended["reason"], ended["discardedEvents"]) == ("done", 1)
    assert [run.handler for run in worker.ran] == ["execute", "on_dead_letter"]


def test_on_empty_that_fails_for_good_does_as_on_exhausted_says() -> None:
    ending, _ = simulated(with_options(Lettered, on_exhausted="terminate"), in_turn("ok", "final"))
    ending.send("enqueue", 1)
    [ended] = ending.told("job.terminated")
    assert (ended["ended"], ended["discardedEvents"]) == ("exhausted", 0)
    pausing, worker = simulated(
        with_options(Lettered, on_exhausted="pause"), in_turn("ok", "final", "ok")
    )
    pausing.send("enqueue", 1)
    assert pausing.status["status"] == "paused"
    pausing.send("resume")
    assert [run.handler for run in worker.ran] == ["execute", "on_empty", "on_empty"]
    assert pausing.status["status"] == "idle"


def test_a_higher_priority_goes_first_also_when_it_is_driven_again() -> None:
    sim, worker = simulated(Deliver(), in_turn("final"))
    sim.send("enqueue", EventText.of(1, "a", 5))
    assert sim.carry()
    sim.send("pause")
    sim.send("enqueue", 2, EventText.of(3, None, 4))
    sim.send("redrive", text="a")
    assert sim.carry()
    sim.send("resume")
    assert worker.succeeded == [1, 3, 2]


def test_an_event_that_does_not_fit_is_rejected_and_not_handled() -> None:
    sim, _ = simulated(Deliver(), in_turn("refuse"))
    sim.send("enqueue", 1)
    assert (sim.status["handledEvents"], sim.status["rejectedEvents"]) == (0, 1)


def test_what_was_cleared_is_dropped_with_a_burst_that_is_lost() -> None:
    sim, worker = simulated(Deliver(), in_turn("hold"))
    sim.post("enqueue", 1, 2, 3)
    sim.settle()
    assert sim.send("clear") == {"discardedEvents": 2}
    sim.end_attempt(Lost())
    sim.send("trigger")
    assert [run.attempt for run in worker.ran] == [2]
    assert (sim.status["eventCount"], sim.status["discardedEvents"]) == (0, 2)
    assert sim.status["handledEvents"] == 1


def test_what_a_burst_got_to_before_it_heard_of_a_clear_is_not_discarded() -> None:
    sim, worker = simulated(Deliver(), in_turn("hold"))
    sim.post("enqueue", 1, 2, 3)
    sim.settle()
    sim.post("clear")
    sim.end_attempt(worker.outcome(sim.attempts[-1], "ok", sim.now))
    sim.settle()
    assert (sim.status["handledEvents"], sim.status["discardedEvents"]) == (3, 0)


def test_a_drained_instance_stays_until_its_failed_events_are_driven_again() -> None:
    sim, _ = simulated(Deliver(), in_turn("final", "ok"))
    sim.send("enqueue", 1)
    sim.send("drain")
    assert sim.status["status"] == "idle"
    assert sim.carry()
    assert sim.status["draining"] is True
    assert sim.send("redrive") == {"redrivenEvents": 1}
    [ended] = sim.told("job.terminated")
    assert (ended["reason"], ended["ended"]) == ("drained", "completed")
    assert ended["discardedEvents"] == 0
