"""When a cron line is due.

Not for workflows: it reads the machine's time zone data, which may change under a replay. cronsim
says which wall times a line names; how they follow a zone's changes of clock is decided here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

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


_UTC_NAMES = {"UTC", "Etc/UTC"}
_DAYS_TRIED = 400
"""So many of the days that a line names are looked at for the shortest time between two."""


def fault_of(rule: ScheduleRule) -> str | None:
    """Why a cron rule cannot be used, and what to do; None for a good one."""
    line = rule.cron or ""
    fault = _fault_of_name(line) or _fault_of_zone(rule.timezone)
    if fault is not None:
        return fault
    try:
        next_cron_time(rule, datetime.now(UTC))
        return _fault_of_jitter(rule) if rule.jitter else None
    except StopIteration:
        return f"cron line {line!r} is never due; mend its day or month"
    except (CronSimError, AssertionError, TypeError, ValueError) as error:
        return f"bad cron line {line!r}: {error or 'not understood'}. The fields are {_FIELDS}"


def _fault_of_jitter(rule: ScheduleRule) -> str | None:
    jitter, shortest = timedelta(seconds=rule.jitter), _shortest_gap(_line(rule.cron or ""))
    if jitter <= shortest:
        return None
    return (
        f"jitter is at most {shortest}, the shortest time between two ticks of cron line "
        f"{rule.cron!r}; it is {jitter}"
    )


def _fault_of_name(line: str) -> str | None:
    name = line.strip().lower()
    if name == "@reboot":
        return "@reboot is no time; for a run at the start, set start_immediately = True"
    if name.startswith("@every"):
        return f"cron line {line!r}: use Every(timedelta(...)) for a fixed interval"
    if name.startswith("@") and name not in _ALIASES:
        return f"bad cron line {line!r}: the names are {', '.join(_ALIASES)}"
    return None


def _fault_of_zone(name: str) -> str | None:
    try:
        _zone(name)
    except (KeyError, ValueError, OSError):
        if not available_timezones():
            return (
                f"time zone {name!r} cannot be read: this machine has no time zone data. Install "
                "the package tzdata from PyPI, or your system's"
            )
        return f"unknown time zone {name!r}; give an IANA name such as 'Europe/Berlin'"
    return None


def _zone(name: str) -> tzinfo:
    # Needs no data, which a machine may lack.
    return UTC if name in _UTC_NAMES else ZoneInfo(name)


def _shortest_gap(line: str) -> timedelta:
    """The shortest time between two of a line's wall times."""
    times = CronSim(line, datetime(2024, 1, 1))  # noqa: DTZ001
    day = [
        timedelta(hours=hour, minutes=minute, seconds=second)
        for hour in sorted(times.hours)
        for minute in sorted(times.minutes)
        for second in sorted(times.seconds)
    ]
    date_fields = " ".join(times.parts[3:])
    dates = islice(CronSim(f"0 0 {date_fields}", datetime(2024, 1, 1)), _DAYS_TRIED)  # noqa: DTZ001
    overnight = min(b - a for a, b in pairwise(dates)) - (day[-1] - day[0])
    return min([overnight, *(b - a for a, b in pairwise(day))])


def next_cron_time(rule: ScheduleRule, after: datetime) -> datetime:
    """The first due time of a cron rule after a moment, in UTC.

    Raises:
        CronSimError: the line is none. StopIteration: it is never due.
    """
    line = _line(rule.cron or "")
    begin = after.astimezone(UTC)
    return (_by_real_clock if _has_star(line) else _by_wall_clock)(
        line, _zone(rule.timezone), begin
    )


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
    # Due times are whole seconds: at most one more lies between the two.
    following = next_cron_time(rule, found)
    return following if following <= until else found


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The due times of a cron rule. See `DueTimes`."""

    rule: ScheduleRule

    def after(self, moment: datetime) -> datetime:
        """See `DueTimes`."""
        return next_cron_time(self.rule, moment)

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """See `DueTimes`."""
        return last_cron_time(self.rule, after, until)


@lru_cache
def _line(given: str) -> str:
    return _ALIASES.get(given.strip().lower(), given)


def _has_star(line: str) -> bool:
    """Whether Debian's cron would run it by the real clock."""
    fields = line.split()
    minute, hour = fields[-5:-3] if len(fields) >= 5 else ("", "")
    return minute.startswith("*") or hour.startswith("*")


def _by_wall_clock(line: str, zone: tzinfo, after: datetime) -> datetime:
    times = CronSim(line, after.astimezone(zone).replace(tzinfo=None))
    while True:
        due = _real(next(times), zone)
        # When the clock shows a time again, it was due at the first.
        if due > after:
            return due


def _real(wall: datetime, zone: tzinfo) -> datetime:
    """The first moment at which clocks show a time, or the end of the gap that leaves it out."""
    while True:
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wall:
            return moment
        wall = wall.replace(second=0) + timedelta(minutes=1)


def _by_real_clock(line: str, zone: tzinfo, after: datetime) -> datetime:
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


def _next_change(zone: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """When the zone's offset is another one for the first time, after and not past a moment."""
    offset = _offset(after, zone)
    low = after
    while low < until:
        high = min(low + timedelta(days=1), until)
        if _offset(high, zone) != offset:
            return _first_other(zone, low, high)
        low = high
    return None


def _first_other(zone: tzinfo, same: datetime, other: datetime) -> datetime:
    offset = _offset(same, zone)
    low, high = int(same.timestamp()), int(other.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
