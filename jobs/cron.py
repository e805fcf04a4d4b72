"""When a cron line is due.

Not for workflows: it reads the machine's time zone data, which may change under a replay. cronsim
says which wall times a line names; how they follow a zone's changes of clock is decided here.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from .schedule import ScheduleRule

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = "minute, hour, day of month, month, day of week; with six, seconds come first"
_SECOND = timedelta(seconds=1)


def fault_of(rule: ScheduleRule) -> str | None:
    """Why a cron rule cannot be used, and what to do; None for a good one."""
    line = rule.cron or ""
    name = line.strip().lower()
    if name == "@reboot":
        return "@reboot is no time; for a run at the start, set start_immediately = True"
    if name.startswith("@every"):
        return f"cron line {line!r}: use Every(timedelta(...)) for a fixed interval"
    if name.startswith("@") and name not in _ALIASES:
        return f"bad cron line {line!r}: the names are {', '.join(_ALIASES)}"
    try:
        ZoneInfo(rule.timezone)
    except (KeyError, ValueError, OSError):
        return f"unknown time zone {rule.timezone!r}; give an IANA name such as 'Europe/Berlin'"
    try:
        next_cron_time(rule, datetime.now(UTC))
    except StopIteration:
        return f"cron line {line!r} is never due; mend its day or month"
    except (CronSimError, AssertionError, TypeError, ValueError) as error:
        return f"bad cron line {line!r}: {error or 'not understood'}. The fields are {_FIELDS}"
    return None


def next_cron_time(rule: ScheduleRule, after: datetime) -> datetime:
    """The first due time of a cron rule after a moment, in UTC.

    Raises:
        CronSimError: the line is none. StopIteration: it is never due.
    """
    line = _line(rule.cron or "")
    zone = ZoneInfo(rule.timezone)
    begin = after.astimezone(UTC)
    return (_by_real_clock if _has_star(line) else _by_wall_clock)(line, zone, begin)


def last_cron_time(rule: ScheduleRule, after: datetime, until: datetime) -> datetime | None:
    """The last due time after one moment and not after another; None where there is none."""
    found = next_cron_time(rule, after)
    if found > until:
        return None
    low, high = found, until
    while high - low > _SECOND:
        middle = low + (high - low) / 2
        due = next_cron_time(rule, middle)
        if due > until:
            high = middle
        else:
            found = low = due
    return found


@lru_cache
def _line(given: str) -> str:
    return _ALIASES.get(given.strip().lower(), given)


def _has_star(line: str) -> bool:
    """Whether Debian's cron would run it by the real clock."""
    fields = line.split()
    minute, hour = fields[-5:-3] if len(fields) >= 5 else ("", "")
    return minute.startswith("*") or hour.startswith("*")


def _by_wall_clock(line: str, zone: ZoneInfo, after: datetime) -> datetime:
    times = CronSim(line, after.astimezone(zone).replace(tzinfo=None))
    while True:
        due = _real(next(times), zone)
        # When the clock shows a time again, it was due at the first.
        if due > after:
            return due


def _real(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which clocks show a time, or the end of the gap that leaves it out."""
    while True:
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wall:
            return moment
        wall = wall.replace(second=0) + timedelta(minutes=1)


def _by_real_clock(line: str, zone: ZoneInfo, after: datetime) -> datetime:
    begin, back = after, timedelta()
    while True:
        offset = _offset(begin, zone)
        times = CronSim(line, (begin + offset - back).replace(tzinfo=None))
        due = next(times).replace(tzinfo=UTC) - offset
        change = _next_change(zone, begin, due)
        if change is None:
            return due
        # The time that clocks show right after the change counts.
        begin, back = change, _SECOND


def _next_change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """When the zone's offset is another one for the first time, after and not past a moment."""
    offset = _offset(after, zone)
    low = after
    while low < until:
        high = min(low + timedelta(days=1), until)
        if _offset(high, zone) != offset:
            return _first_other(zone, low, high)
        low = high
    return None


def _first_other(zone: ZoneInfo, same: datetime, other: datetime) -> datetime:
    offset = _offset(same, zone)
    low, high = int(same.timestamp()), int(other.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
