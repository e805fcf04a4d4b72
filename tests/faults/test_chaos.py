"""Workers, the Temporal server and the collector fail, all at once: nothing is lost."""

from pathlib import Path

from tests.chaos.run import run


async def test_whatever_fails_every_event_runs_and_is_told_of_exactly(tmp_path: Path) -> None:
    outcome = await run(
        tmp_path, seconds=20, seed=4, callers=6, restart_every=(8, 10), mood_for=(0.5, 1.5)
    )
    assert not outcome.report.faults, str(outcome)
    assert outcome.kills >= 3
    assert outcome.restarts >= 1
    assert outcome.report.events > 200
    assert outcome.report.refused > 0
    assert outcome.report.duplicates > 0
    assert {"422", "429", "500", "closed"} <= outcome.answers.keys()
