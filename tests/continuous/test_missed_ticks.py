"""Late, missed and jittered ticks: the timetable beside a model that goes through all ticks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_jobs import Cron, Every
from durable_jobs.cron import CronTimes
from durable_jobs.questions import NextDue, NextDueRequest
from durable_jobs.schedule import CatchUp, Schedule, ScheduleRule
from durable_jobs.ticks import Grid, delay_of, find_next
from durable_jobs.workflows.machines.timetable import Timetable
from tests.support.brute_cron import Brute

START = datetime(2026, 3, 28, 22, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
ZERO = timedelta()
CATCH_UPS: list[CatchUp] = ["skip", "one", "all"]


@dataclass(frozen=True)
class Run:
    """A run: which tick it was for, and when it began."""

    due: datetime
    began: datetime


@dataclass(frozen=True)
class Life:
    """What an instance goes through."""

    schedule: Schedule
    catch_up: CatchUp
    lasting: list[timedelta]
    """How long each of its runs takes."""

    outages: list[tuple[timedelta, timedelta]]
    """From when to when, after the start, nothing can run."""

    until: datetime | None = None
    seed: str = "continuous:poll:acct"

    def able(self, moment: datetime) -> datetime:
        """The first time at or after a moment when something can run."""
        for begin, end in sorted(self.outages):
            if START + begin <= moment < START + end:
                moment = START + end
        return moment

    def times(self) -> Grid | CronTimes:
        """Its due times, as the library computes them."""
        if isinstance(self.schedule, Every):
            return Grid(START, self.schedule.interval)
        return CronTimes(self.schedule.rule())


def played(life: Life) -> list[Run]:
    """The runs that the timetable makes."""
    table, rule = Timetable(anchor=START, seed=life.seed), life.schedule.rule()
    if isinstance(life.schedule, Every):
        table.start()
    else:
        table.plan(_answer(life, table.next_after(rule, START)))
    runs: list[Run] = []
    now = START
    while len(runs) < len(life.lasting) and not _is_over(table, life):
        assert table.runs_at is not None
        now = life.able(max(now, table.runs_at))
        until = None if life.catch_up == "skip" else life.until
        due = table.take(_answer(life, table.look(rule, now, until)), life.catch_up)
        if due is not None:
            runs.append(Run(due, now))
            now += life.lasting[len(runs) - 1]
    return runs


def _is_over(table: Timetable, life: Life) -> bool:
    return life.until is not None and table.due is not None and table.due > life.until


def _answer(life: Life, found: NextDue | NextDueRequest) -> NextDue:
    if isinstance(found, NextDue):
        return found
    # What crosses to a worker does so as JSON.
    request = NextDueRequest.model_validate_json(found.model_dump_json())
    answer = find_next(CronTimes(request.rule), request)
    return NextDue.model_validate_json(answer.model_dump_json())


def modelled(life: Life) -> list[Run]:
    """The runs that the rule asks for, by going through all ticks."""
    ticks: list[tuple[datetime, datetime]] = []
    later = _ticks(life)
    runs: list[Run] = []
    now, at, must_run = START, 0, True
    while len(runs) < len(life.lasting):
        while len(ticks) <= at:
            ticks.append(next(later))
        if life.until and ticks[at][0] > life.until:
            break
        now = life.able(max(now, ticks[at][1]))
        while ticks[-1][1] <= now:
            ticks.append(next(later))
        come = [n for n in range(at + 1, len(ticks)) if ticks[n][1] <= now]
        ahead = at + 1 + len(come)
        if life.catch_up != "skip" and life.until:
            come = [n for n in come if ticks[n][0] <= life.until]
        if come and life.catch_up == "skip" and not must_run:
            at, must_run = ahead, True
            continue
        last = come[-1] if come and life.catch_up == "one" else at
        runs.append(Run(ticks[last][0], now))
        now += life.lasting[len(runs) - 1]
        at, must_run = at + 1 if life.catch_up == "all" else ahead, False
    return runs


def _ticks(life: Life) -> Iterator[tuple[datetime, datetime]]:
    """Due times and own times."""
    jitter, times = life.schedule.jitter.total_seconds(), life.times()
    for due in _dues(life.schedule):
        # The tick of the start itself is not delayed.
        delay = ZERO if due == START else delay_of(times, due, jitter, life.seed)
        yield due, due + delay


def _dues(schedule: Schedule) -> Iterator[datetime]:
    if isinstance(schedule, Every):
        yield from (START + n * schedule.interval for n in count())
    else:
        brute = Brute(schedule.line, schedule.timezone)
        yield from brute.due(START + MINUTE, START + timedelta(days=400))


@st.composite
def intervals(draw: st.DrawFn) -> Schedule:
    step = timedelta(milliseconds=draw(st.integers(1, 5_000)))
    return Every(step, jitter=step * draw(st.sampled_from([0, 0.1, 0.5, 1])))


@st.composite
def crons(draw: st.DrawFn) -> Schedule:
    line, most = draw(
        st.sampled_from([("* * * * *", 1), ("*/7 * * * *", 4), ("0,20,25 1-4 * * *", 5)])
    )
    jitter = timedelta(minutes=most) * draw(st.sampled_from([0, 0.3, 1]))
    return Cron(line, timezone=draw(st.sampled_from(["UTC", "Europe/Berlin"])), jitter=jitter)


@st.composite
def lives(draw: st.DrawFn, schedules: st.SearchStrategy[Schedule], typical: timedelta) -> Life:
    schedule = draw(schedules)
    step = schedule.interval if isinstance(schedule, Every) else typical
    # Exact multiples of the interval, too: there "has come" is decided.
    share = st.one_of(st.floats(0, 3.5), st.sampled_from([0.0, 0.4, 1.0, 1.1, 2.0]))
    lasting = draw(st.lists(share.map(lambda part: step * part), min_size=1, max_size=12))
    spans = st.tuples(st.floats(0, 12), st.floats(0, 6))
    outages = draw(st.lists(spans.map(lambda s: (step * s[0], step * (s[0] + s[1]))), max_size=3))
    until = draw(st.none() | st.floats(0, 15).map(lambda part: START + step * part))
    seed = draw(st.sampled_from(["a", "b", "c", "d"]))
    return Life(schedule, draw(st.sampled_from(CATCH_UPS)), lasting, outages, until, seed)


@settings(max_examples=600, deadline=None)
@given(lives(intervals(), SECOND))
def test_ticks_of_an_interval_run_as_the_model_says(life: Life) -> None:
    assert played(life) == modelled(life)


@settings(max_examples=150, deadline=None)
@given(lives(crons(), timedelta(minutes=10)))
def test_ticks_of_a_cron_line_run_as_the_model_says(life: Life) -> None:
    assert played(life) == modelled(life)


@settings(max_examples=300, deadline=None)
@given(lives(intervals(), SECOND))
def test_no_run_begins_before_its_own_time_or_overlaps_another(life: Life) -> None:
    jitter, times = life.schedule.jitter.total_seconds(), life.times()
    runs = played(life)
    for run in runs[1:]:
        assert run.began >= run.due + delay_of(times, run.due, jitter, life.seed)
    for (earlier, later), took in zip(pairwise(runs), life.lasting, strict=False):
        assert later.began >= earlier.began + took
        assert later.due > earlier.due


@pytest.mark.parametrize("catch_up", CATCH_UPS)
@pytest.mark.parametrize("jitter", [0, 0.5, 1])
@pytest.mark.parametrize("lasting", [0.4, 0.9])
def test_no_tick_is_lost_where_runs_are_shorter_than_the_interval(
    catch_up: CatchUp, jitter: float, lasting: float
) -> None:
    for seed in "abcdefghij":
        schedule = Every(SECOND, jitter=SECOND * jitter)
        life = Life(schedule, catch_up, [SECOND * lasting] * 40, [], seed=seed)
        assert [run.due for run in played(life)] == [START + n * SECOND for n in range(40)]


@given(st.integers(0, 10**9), st.text(max_size=3))
def test_a_tick_has_a_tenth_of_the_interval_to_begin_before_its_successors_own_time(
    number: int, seed: str
) -> None:
    grid, due = Grid(START, SECOND), START + number * SECOND
    first, second = (each + delay_of(grid, each, 1.0, seed) for each in (due, due + SECOND))
    assert second - first >= SECOND / 10


@pytest.mark.parametrize("catch_up", CATCH_UPS)
def test_a_tick_is_late_until_its_successors_own_time_and_missed_from_then_on(
    catch_up: CatchUp,
) -> None:
    def after_a_run_of(seconds: float) -> list[float]:
        life = Life(Every(SECOND), catch_up, [SECOND * seconds, ZERO, ZERO], [])
        return [(run.due - START) / SECOND for run in played(life)]

    assert after_a_run_of(1.1) == [0, 1, 2]
    assert after_a_run_of(1.999) == [0, 1, 2]
    missed = {"skip": [0, 3, 4], "one": [0, 2, 3], "all": [0, 1, 2]}
    assert after_a_run_of(2) == after_a_run_of(2.5) == missed[catch_up]


def test_the_successors_own_time_counts_its_jitter() -> None:
    schedule = Every(SECOND, jitter=SECOND)
    grid, due = Grid(START, SECOND), START + 5 * SECOND
    own = due + delay_of(grid, due, 1.0, "seed")
    assert due < own

    def missed_at(now: datetime) -> bool:
        table = Timetable(anchor=START, seed="seed", due=due - SECOND)
        found = table.look(schedule.rule(), now)
        assert isinstance(found, NextDue)
        return found.last_missed is not None

    assert not missed_at(due)
    assert not missed_at(own - timedelta.resolution)
    assert missed_at(own)


@pytest.mark.parametrize(
    ("catch_up", "dues"),
    [("skip", [1.5, 5]), ("one", [1.5, 4, 5]), ("all", [1.5, 2, 3, 4, 5])],
)
def test_a_tick_that_a_run_chose_runs_however_late(catch_up: CatchUp, dues: list[float]) -> None:
    table, rule = Timetable(anchor=START), Every(SECOND).rule()
    table.choose(START + 1.5 * SECOND)
    now = START + 4.2 * SECOND
    found: list[float] = []
    while len(found) < len(dues):
        assert table.runs_at is not None
        now = max(now, table.runs_at)
        answer = table.look(rule, now)
        assert isinstance(answer, NextDue)
        due = table.take(answer, catch_up)
        if due is not None:
            found.append((due - START) / SECOND)
    assert found == dues


@given(
    st.integers(1, 10_000),
    st.floats(0, 1),
    st.text(max_size=5),
    st.lists(st.integers(0, 10**6), min_size=2, max_size=20),
)
def test_jitter_delays_within_its_bounds_and_keeps_the_order(
    milliseconds: int, share: float, seed: str, numbers: list[int]
) -> None:
    step = timedelta(milliseconds=milliseconds)
    grid, jitter = Grid(START, step), (step * share).total_seconds()
    dues = sorted(START + step * number for number in numbers)
    delays = [delay_of(grid, due, jitter, seed) for due in dues]
    assert all(ZERO <= delay <= step * share + timedelta.resolution for delay in delays)
    own = [due + delay for due, delay in zip(dues, delays, strict=True)]
    assert own == sorted(own)


def test_jitter_spreads_the_ticks_of_one_instance_and_of_many_at_one_time() -> None:
    grid = Grid(START, SECOND)
    of_one = [delay_of(grid, START + n * SECOND, 1.0, "one") / SECOND for n in range(1_000)]
    of_many = [delay_of(grid, START, 1.0, f"key {n}") / SECOND for n in range(1_000)]
    for delays in (of_one, of_many):
        tenths = [sum(n <= 10 * delay < n + 1 for delay in delays) for n in range(9)]
        assert min(tenths) > 60


def test_jitter_beyond_a_gap_that_a_change_of_clock_made_short_stays_within_it() -> None:
    # 02:30 does not exist on 29 March and runs at 03:00, a quarter of an hour before the next.
    rule = ScheduleRule(cron="30 2 * * *", timezone="Europe/Berlin", jitter=3600.0)
    quarter = ScheduleRule(cron="15,30 2-3 * * *", timezone="Europe/Berlin", jitter=900.0)
    gap_ends = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert CronTimes(quarter).after(gap_ends) - gap_ends == timedelta(minutes=15)
    for seed in "abcdefgh":
        assert delay_of(CronTimes(quarter), gap_ends, 3600.0, seed) <= timedelta(minutes=15)
        assert delay_of(CronTimes(rule), gap_ends, 3600.0, seed) <= timedelta(hours=1)
