"""How far a long command says that it is."""

import pytest

from durable_jobs.cli import progress
from durable_jobs.cli.progress import Progress


def test_a_terminal_shows_a_bar_for_what_takes_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "_QUICK", 0)
    with Progress("pause", 3) as bar:
        bar.step()
        bar.say("one failed")
    shown = capsys.readouterr().err
    assert "pause" in shown
    assert "1/3" in shown
    assert "one failed" in shown


def test_what_is_quick_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("pause", 3) as bar:
        for _ in range(3):
            bar.step()
    assert capsys.readouterr().err == ""


def test_a_log_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_SAY_EVERY", 0)
    with Progress("pause", 2_000) as bar:
        bar.step()
    assert capsys.readouterr().err == "pause: 1 of 2,000\n"
