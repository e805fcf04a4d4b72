"""What a debounce instance decides."""

from durable_jobs.workflows.machines.texts import EventText
from tests.machines.jobs import REFUSED, SECOND, Digest, in_turn, simulated, with_options


def test_a_paused_instance_that_remembers_ids_sets_no_timer() -> None:
    sim, _ = simulated(with_options(Digest, dedupe_for=20 * SECOND))
    sim.send("add", EventText.of(1, "a"))
    sim.send("flush")
    sim.send("pause")
    sim.advance(60 * SECOND)
    assert (sim.status["status"], sim.timer) == ("paused", None)
    sim.send("resume")
    assert sim.finished


def test_a_run_that_was_lost_keeps_its_number_though_nothing_was_left_to_run() -> None:
    sim, _ = simulated(Digest(), in_turn("lost", "ok", "ok"))
    sim.send("add", REFUSED)
    sim.advance(16 * SECOND)
    sim.send("pause")
    told = [(event["type"], event.get("runCount")) for event in sim.told()]
    assert told == [("debounce.started", None), ("job.failed", 1), ("debounce.flushed", None)]
    assert sim.run_count == 1
