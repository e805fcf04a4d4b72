"""Where a continuous instance stands in its schedule."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel
from temporalio import workflow

from durable_jobs.names import NEXT_DUE
from durable_jobs.protocol import Detail
from durable_jobs.questions import NextDue, NextDueRequest
from durable_jobs.schedule import ScheduleRule, next_multiple

from .library import call

_SUMMARY = "when the next tick is due"


@dataclass(frozen=True)
class Ahead:
    """What a schedule holds from a moment on."""

    following: datetime
    """The first due time after it."""

    first_missed: datetime | None = None
    """The first and last of those that had fallen due behind the tick at hand."""

    last_missed: datetime | None = None


class Timetable(BaseModel):
    """The next tick, and what became of the schedule. Travels with continue-as-new."""

    anchor: datetime
    """The start: intervals are counted from it."""

    due: datetime | None = None
    """The next tick; None until it is planned."""

    delay: float = 0.0
    """Seconds by which jitter delays it."""

    chosen: bool = False
    """Whether a run chose it, by `next_in` or `next_at`."""

    must_run: bool = True
    """Whether it runs however late it is: the first of all, and the first after skipped ones.

    Else an instance whose worker is always later than the interval would never run.
    """

    override: ScheduleRule | None = None
    """Set by `reschedule`."""

    @property
    def fire_at(self) -> datetime | None:
        """When the next tick runs."""
        return None if self.due is None else self.due + timedelta(seconds=self.delay)

    def set(self, due: datetime, rule: ScheduleRule, *, must_run: bool) -> None:
        """Set the next tick to one of the schedule's due times."""
        self.due, self.chosen, self.must_run = due, False, must_run
        self.delay = workflow.random().uniform(0, rule.jitter)

    def choose(self, due: datetime) -> None:
        """Set the next tick to a time that a run asked for."""
        self.due, self.chosen, self.must_run, self.delay = due, True, True, 0.0

    def forget(self) -> None:
        """Have the next tick planned anew; what was missed is not made up for."""
        self.due, self.chosen, self.must_run = None, False, True

    async def ahead(self, rule: ScheduleRule, now: datetime, end: datetime | None = None) -> Ahead:
        """What follows the next tick, which is due now or was before; missed ones up to `end`."""
        due = self.due or now
        # A tick delayed by jitter is as late as the delay is over.
        seen = now - timedelta(seconds=self.delay)
        seen = seen if end is None else min(seen, end)
        if rule.every is not None:
            first = next_multiple(self.anchor, rule.every, due)
            last = next_multiple(self.anchor, rule.every, seen) - timedelta(seconds=rule.every)
            missed = (first, last) if first <= seen else (None, None)
            return Ahead(next_multiple(self.anchor, rule.every, max(due, now)), *missed)
        request = NextDueRequest(
            rule=rule.model_dump(), after=max(due, now), missed_since=due, missed_until=seen
        )
        found = await call(NEXT_DUE, request, NextDue, _SUMMARY)
        return Ahead(found.at, found.first_missed, found.last_missed)

    async def next_after(self, rule: ScheduleRule, moment: datetime) -> datetime:
        """The schedule's first due time after a moment."""
        if rule.every is not None:
            return next_multiple(self.anchor, rule.every, moment)
        request = NextDueRequest(rule=rule.model_dump(), after=moment)
        return (await call(NEXT_DUE, request, NextDue, _SUMMARY)).at


async def fault_in(rule: ScheduleRule, now: datetime) -> str | None:
    """Why a caller's schedule cannot be used: only a worker can read time zones."""
    if rule.cron is None:
        return None
    request = NextDueRequest(rule=rule.model_dump(), after=now, judge=True)
    return (await call(NEXT_DUE, request, NextDue, "whether the schedule is one")).problem


def shown(rule: ScheduleRule) -> Detail:
    """A rule as callers send it."""
    return rule.model_dump(exclude_defaults=True)
