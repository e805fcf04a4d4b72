"""What a continuous instance decides."""

from datetime import UTC, datetime

from tests.machines.jobs import MINUTE, SECOND, Poll, in_turn, simulated
from tests.support.scripted_worker import SNOOZED_FOR
from tests.support.simulation import START


def test_ticks_keep_to_the_grid_however_long_runs_take_and_missed_ones_are_skipped() -> None:
    sim, worker = simulated(Poll())
    worker.takes = 130 * SECOND
    sim.advance(10 * MINUTE)
    assert [request.detail["due_at"] for request in sim.attempts][:3] == [
        (START + n * MINUTE).isoformat() for n in (0, 3, 6)
    ]


def test_a_run_that_chose_no_time_in_reach_can_be_put_off() -> None:
    sim, worker = simulated(Poll(), in_turn("ok", "snooze", "ok"))
    worker.detail = lambda request: {"next_at": datetime.max.replace(tzinfo=UTC).isoformat()}
    sim.settle()
    assert sim.status["nextRunAt"] == "9999-12-31T23:59:59.999999+00:00"
    sim.send("trigger")
    sim.advance(SNOOZED_FOR)
    assert [run.word for run in worker.ran] == ["ok", "snooze", "ok"]
    assert worker.ran[2].attempt == 1
