"""Due times that only a worker can tell: workflows read no time zones."""

from datetime import datetime

from durable_jobs.names import NEXT_DUE
from durable_jobs.protocol import Detail
from durable_jobs.questions import NextDue, NextDueRequest
from durable_jobs.schedule import ScheduleRule

from .library import call


async def answered(found: NextDue | NextDueRequest) -> NextDue:
    """The answer, by a worker where the timetable could not give it."""
    if isinstance(found, NextDue):
        return found
    return await call(NEXT_DUE, found, NextDue, "when the next tick is due")


async def fault_in(rule: ScheduleRule, now: datetime) -> str | None:
    """Why a caller's schedule cannot be used."""
    if rule.cron is None:
        return None
    request = NextDueRequest(rule=rule, after=now, judge=True)
    return (await call(NEXT_DUE, request, NextDue, "whether the schedule is one")).problem


def shown(rule: ScheduleRule) -> Detail:
    """A rule as callers send it."""
    return rule.model_dump(exclude_defaults=True)
