"""Where a continuous instance stands in its schedule. Decides; asks nobody and waits for nothing.

The rule itself is in `durable_jobs.ticks`.
"""

from datetime import datetime, timedelta

from pydantic import BaseModel

from durable_jobs.questions import NextDue, NextDueRequest
from durable_jobs.schedule import CatchUp, ScheduleRule
from durable_jobs.ticks import Grid, find_next


class Timetable(BaseModel):
    """The next tick, and what became of the schedule. Travels with continue-as-new.

    Only workers know time zones. So a question about a cron rule is answered with the request to
    send to one, and a question about an interval with the answer itself.
    """

    anchor: datetime
    """The start: intervals are counted from it."""

    seed: str = ""
    """The instance's ID: its jitter follows from it."""

    due: datetime | None = None
    """The next tick; None until it is planned."""

    delay: float = 0.0
    """Seconds by which jitter delays it."""

    chosen: bool = False
    """Whether a run chose it, by `next_in` or `next_at`."""

    must_run: bool = True
    """Whether it runs though it is missed: the first of all, and the first after skipped ones.

    Else an instance whose worker is always later than the interval would never run.
    """

    override: ScheduleRule | None = None
    """Set by `reschedule`."""

    @property
    def runs_at(self) -> datetime | None:
        """Its own time: when it runs, if nothing stands in the way."""
        return None if self.due is None else self.due + timedelta(seconds=self.delay)

    def start(self) -> None:
        """Set the first tick to the start."""
        self._set(self.anchor, must_run=True)

    def choose(self, due: datetime) -> None:
        """Set the next tick to a time that a run asked for."""
        self._set(due, must_run=True)
        self.chosen = True

    def forget(self) -> None:
        """Have the next tick planned anew; what was missed is not made up for."""
        self.due, self.delay, self.chosen, self.must_run = None, 0.0, False, True

    def next_after(self, rule: ScheduleRule, moment: datetime) -> NextDue | NextDueRequest:
        """The schedule's first due time after a moment."""
        return self._answer(NextDueRequest(rule=rule, after=moment, seed=self.seed))

    def plan(self, found: NextDue) -> None:
        """Set the next tick to the answer of `next_after`."""
        self._set(found.at, found.delay, must_run=self.must_run)

    def look(
        self, rule: ScheduleRule, now: datetime, until: datetime | None = None
    ) -> NextDue | NextDueRequest:
        """What follows the next tick, whose own time has come; missed ones up to `until`."""
        due = self.due or now
        return self._answer(
            NextDueRequest(rule=rule, after=due, now=now, until=until, seed=self.seed)
        )

    def take(self, found: NextDue, catch_up: CatchUp) -> datetime | None:
        """Go on to the tick that follows, by the answer of `look`.

        Returns:
            The due time of the run to make now; None where the tick was missed and is skipped.
        """
        due, missed = self.due, found.last_missed is not None
        runs = not missed or catch_up != "skip" or self.must_run
        if missed and catch_up == "one" and not self.chosen:
            due = found.last_missed
        following = self._following(found, catch_up)
        self._set(following, found.delay if following == found.at else 0.0, must_run=not runs)
        return due if runs else None

    def _following(self, found: NextDue, catch_up: CatchUp) -> datetime:
        if catch_up == "all":
            return found.first_missed or found.at
        if catch_up == "one" and self.chosen:
            return found.last_missed or found.at
        return found.at

    def _set(self, due: datetime, delay: float = 0.0, *, must_run: bool) -> None:
        self.due, self.delay, self.chosen, self.must_run = due, delay, False, must_run

    def _answer(self, request: NextDueRequest) -> NextDue | NextDueRequest:
        every = request.rule.every
        if every is None:
            return request
        return find_next(Grid(self.anchor, timedelta(seconds=every)), request)
