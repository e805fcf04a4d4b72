"""What an instance of a worker pool decides."""

from tests.machines.jobs import Deliver, simulated


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
