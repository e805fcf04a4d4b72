"""What a debounce instance decides."""

from durable_jobs.workflows.machines.texts import EventText
from tests.machines.jobs import SECOND, Digest, simulated, with_options


def test_a_paused_instance_that_remembers_ids_sets_no_timer() -> None:
    sim, _ = simulated(with_options(Digest, dedupe_for=20 * SECOND))
    sim.send("add", EventText.of(1, "a"))
    sim.send("flush")
    sim.send("pause")
    sim.advance(60 * SECOND)
    assert (sim.status["status"], sim.timer) == ("paused", None)
    sim.send("resume")
    assert sim.finished
