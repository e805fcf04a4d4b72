"""When a cron line is due, by a calculation that goes through time minute by minute."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


def _numbers(field: str, low: int, high: int, names: str = "") -> set[int]:
    """The numbers that one field of a line names. Written without a look at cronsim."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = (str(low), "", str(high)) if span == "*" else span.partition("-")
        begin, end = _number(first, names), _number(last or first, names)
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def _number(text: str, names: str) -> int:
    return names.split().index(text) if not text.isdigit() else int(text)


MONTHS = "- jan feb mar apr may jun jul aug sep oct nov dec"
DAYS = "sun mon tue wed thu fri sat"


class Brute:
    """A line, asked for each minute."""

    def __init__(self, line: str, zone: str) -> None:
        minute, hour, day, month, weekday = line.split()
        self.minutes, self.hours = _numbers(minute, 0, 59), _numbers(hour, 0, 23)
        self.days, self.months = _numbers(day, 1, 31), _numbers(month, 1, 12, MONTHS)
        self.weekdays = _numbers(weekday, 0, 6, DAYS)
        self.both = day == "*" or weekday == "*"
        self.real = minute.startswith("*") or hour.startswith("*")
        self.zone = ZoneInfo(zone)

    def names(self, wall: datetime) -> bool:
        """Whether the line names what clocks show."""
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        day, weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        right_day = (day and weekday) if self.both else (day or weekday)
        return right_day and wall.month in self.months

    def due(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """All due times, by going through all minutes of real time."""
        shown = (begin - MINUTE).astimezone(self.zone).replace(tzinfo=None)
        latest = shown
        moment = begin
        while moment < end:
            wall = moment.astimezone(self.zone).replace(tzinfo=None)
            if self.real:
                if self.names(wall):
                    yield moment
            else:
                # Clocks went on by one minute, jumped over some, or went back to show some again.
                passed = (latest + MINUTE * n for n in range(1, (wall - latest) // MINUTE + 1))
                if any(self.names(each) for each in passed):
                    yield moment
            latest = max(latest, wall)
            moment += MINUTE
