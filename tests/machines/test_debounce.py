"""What a debounce instance decides."""

import pytest

from durable_jobs.names import FOLD
from durable_jobs.workflows.machines import gathered
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


def test_a_leading_event_runs_alone_though_very_many_wait_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathered, "FOLD_EVENTS", 3)
    sim, worker = simulated(with_options(Digest, leading=True))
    sim.mailbox.slice_events = 5
    for number in range(1, 12):
        sim.post("add", number)
    sim.settle()
    assert worker.succeeded == [[1]]
    sim.advance(5 * SECOND)
    assert worker.succeeded == [[1], list(range(2, 12))]


def test_what_is_folded_while_a_run_fails_for_good_is_judged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathered, "FOLD_EVENTS", 3)
    job = with_options(Digest, on_exhausted="continue")
    sim, worker = simulated(job, in_turn("fail", "final"))
    sim.send("add", 1)
    sim.send("flush")
    sim.asks_answered, sim.machine.carry_due = False, True
    sim.send("add", REFUSED, 14, 15, 16)
    assert sim.asked == FOLD
    sim.send("flush")
    sim.answer_asked()
    sim.asks_answered = True
    sim.advance(5 * SECOND)
    assert worker.succeeded == [[1, 14, 15, 16]]
    assert sim.rejected == 1


def test_a_window_is_told_of_before_the_pause_that_came_with_it() -> None:
    sim, _ = simulated(Digest())
    sim.post("add", 1)
    sim.send("pause", text="not yet")
    assert sim.types()[:2] == ["debounce.started", "job.paused"]


def test_a_window_that_is_terminated_before_its_first_step_is_told_of_first() -> None:
    job = Digest()
    sim, _ = simulated(job, options=job.options())
    sim.machine.outbox.track(sim.options.tracking)
    sim.post("add", 1)
    sim.send("terminate")
    assert sim.types() == ["debounce.started", "job.terminated"]
