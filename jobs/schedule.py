"""When a continuous job runs: a fixed interval, or a cron line in a time zone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict

from .errors import DefinitionError


class ScheduleRule(BaseModel):
    """A schedule as recorded in history. Either `every` (seconds) or `cron` is set."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    every: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Every:
    """Due at the start, and after each whole interval from it, however long a run takes.

    `jitter` delays each tick by a random time up to it.
    """

    interval: timedelta
    jitter: timedelta = timedelta()

    starts_immediately = True

    def check(self, job: str) -> None:
        """Raise `DefinitionError` where a value makes no sense."""
        _check_spans(job, interval=self.interval, jitter=self.jitter)
        if self.interval < timedelta(milliseconds=1):
            raise DefinitionError(f"{job}: Every needs an interval of at least 1 ms")
        if not timedelta() <= self.jitter <= self.interval:
            raise DefinitionError(f"{job}: jitter lies between 0 and the interval")

    def rule(self) -> ScheduleRule:
        """The same as data."""
        return ScheduleRule(every=self.interval.total_seconds(), jitter=self.jitter.total_seconds())


@dataclass(frozen=True, slots=True)
class Cron:
    """Due when a cron line says so: five or six fields (seconds first), names, `@daily`.

    Daylight saving follows Debian's cron (through cronsim): a time that does not exist runs right
    after the gap, one that comes twice runs once.
    """

    line: str
    timezone: str = "UTC"
    jitter: timedelta = timedelta()

    starts_immediately = False

    def check(self, job: str) -> None:
        """Raise `DefinitionError` for a bad line, an unknown zone or a negative jitter."""
        _check_spans(job, jitter=self.jitter)
        if self.jitter < timedelta():
            raise DefinitionError(f"{job}: jitter must not be negative")
        if not isinstance(self.line, str) or not isinstance(self.timezone, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{job}: a Cron has its line and its timezone as strings")
        try:
            next_cron_time(self.rule(), datetime.now(UTC))
        except CronSimError as error:
            raise DefinitionError(f"{job}: bad cron line {self.line!r}: {error}") from error
        except (KeyError, ValueError, OSError) as error:
            raise DefinitionError(f"{job}: unknown time zone {self.timezone!r}") from error
        except StopIteration:
            raise DefinitionError(f"{job}: cron line {self.line!r} is never due") from None

    def rule(self) -> ScheduleRule:
        """The same as data."""
        return ScheduleRule(
            cron=self.line, timezone=self.timezone, jitter=self.jitter.total_seconds()
        )


Schedule = Every | Cron


def _check_spans(job: str, **values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, timedelta):
            raise DefinitionError(f"{job}: schedule: {name} is a timedelta, it is {value!r}")


_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def next_cron_time(rule: ScheduleRule, after: datetime) -> datetime:
    """The first due time of a cron rule after `after`, in UTC.

    Not for workflows: it reads the machine's time zone data, which may change under a replay.
    """
    line = _ALIASES.get((rule.cron or "").strip(), rule.cron or "")
    return next(CronSim(line, after.astimezone(ZoneInfo(rule.timezone)))).astimezone(UTC)
