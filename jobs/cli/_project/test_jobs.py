"""Tests without a server: they take milliseconds, whatever the schedule."""

import pytest

from durable_jobs.testing import Simulation, run_job
from jobs import Poll


def test_it_reads_the_page_after_the_last() -> None:
    assert run_job(Poll(), state=3).state == 4


def test_it_fails_where_the_api_is_down() -> None:
    with pytest.raises(ConnectionError):
        run_job(Poll(), state=2)


def test_no_page_is_left_out() -> None:
    sim = Simulation(Poll())
    sim.advance("1m")
    assert [run.error is None for run in sim.runs][:4] == [True, True, False, True]
    assert sim.run(sim.jobs.continuous(Poll, "default").state()) == 13
