"""When a continuous job runs: a fixed interval, or a cron line in a time zone."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from .errors import DefinitionError
from .spans import LONGEST, Span
from .values import JSON

CatchUp = Literal["skip", "one", "all"]

SHORTEST = timedelta(milliseconds=1)

_RULE = (
    'takes one argument {"every": seconds} or {"cron": line, "timezone": "optional"}, either with '
    '"jitter": seconds if wanted; without an argument, or with null, the job\'s own schedule again'
)


class ScheduleRule(BaseModel):
    """A schedule as recorded in history. Either `every` (seconds) or `cron` is set."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    every: Annotated[Span, Field(ge=SHORTEST.total_seconds())] | None = None
    cron: str | None = None
    timezone: str = "UTC"
    jitter: Span = 0.0

    def same_times(self, other: "ScheduleRule") -> bool:
        """Whether another rule is due at the same times; jitter only delays."""
        return self.model_copy(update={"jitter": other.jitter}) == other


@dataclass(frozen=True, slots=True)
class Every:
    """Due at the start, and after each whole interval from it, however long a run takes.

    `jitter` delays each tick by a time of its own up to it, and is at most the interval.
    """

    interval: timedelta
    jitter: timedelta = timedelta()

    starts_immediately = True

    def check(self, job: str) -> None:
        """Raise `DefinitionError` where a value makes no sense."""
        _check_spans(job, interval=self.interval, jitter=self.jitter)
        if not SHORTEST <= self.interval <= LONGEST:
            raise DefinitionError(
                f"{job}: Every needs an interval between 1 ms and 10 years, it is {self.interval}"
            )
        if not timedelta() <= self.jitter <= self.interval:
            raise DefinitionError(
                f"{job}: jitter lies between 0 and the interval of {self.interval}, "
                f"it is {self.jitter}"
            )

    def rule(self) -> ScheduleRule:
        """The same as data."""
        return ScheduleRule(every=self.interval.total_seconds(), jitter=self.jitter.total_seconds())


@dataclass(frozen=True, slots=True)
class Cron:
    """Due when a cron line says so: five or six fields (seconds first), names, `@daily`.

    Daylight saving is as in Debian's cron: a time that does not exist runs once, right after the
    gap; one that comes twice runs once, at the first. A line with a `*` in the hour or the minute
    follows the real clock instead: `0 * * * *` runs each hour that passes.

    `jitter` delays each tick by a time of its own up to it. It is at most the shortest time between
    two ticks.
    """

    line: str
    timezone: str = "UTC"
    jitter: timedelta = timedelta()

    starts_immediately = False

    def check(self, job: str) -> None:
        """Raise `DefinitionError` for a bad line, an unknown zone or a wrong jitter."""
        # Not for workflows, which import this module: it reads time zone data.
        from .cron import fault_of

        _check_spans(job, jitter=self.jitter)
        if not timedelta() <= self.jitter <= LONGEST:
            raise DefinitionError(f"{job}: jitter lies between 0 and 10 years, it is {self.jitter}")
        if not isinstance(self.line, str) or not isinstance(self.timezone, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{job}: a Cron has its line and its timezone as strings")
        fault = fault_of(self.rule())
        if fault is not None:
            raise DefinitionError(f"{job}: {fault}")

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


def read_rule(value: JSON) -> ScheduleRule:
    """A rule that any client may have sent. Whether its cron line is one, it does not tell.

    Raises:
        ValueError: it has another shape; says what is expected.
    """
    if not isinstance(value, dict):
        raise ValueError(_RULE)
    given = cast("dict[str, JSON]", value)
    every, line, zone = given.get("every"), given.get("cron"), given.get("timezone", "UTC")
    jitter = given.get("jitter", 0)
    strange = given.keys() - {"every", "cron", "timezone", "jitter"}
    if strange or (every is None) == (line is None) or not _is_number(jitter):
        raise ValueError(_RULE)
    if jitter > LONGEST.total_seconds():
        raise ValueError("jitter lies between 0 and 10 years")
    if every is not None:
        return _every(every, jitter, has_zone="timezone" in given)
    if not isinstance(line, str) or not isinstance(zone, str) or len(line) + len(zone) > 1_000:
        raise ValueError(_RULE)
    return ScheduleRule(cron=line, timezone=zone, jitter=float(jitter))


def _every(every: JSON, jitter: float, *, has_zone: bool) -> ScheduleRule:
    if has_zone or not _is_number(every):
        raise ValueError(_RULE)
    if not SHORTEST.total_seconds() <= every <= LONGEST.total_seconds():
        raise ValueError("an interval lies between 0.001 seconds and 10 years")
    if jitter > every:
        raise ValueError("jitter lies between 0 and the interval")
    return ScheduleRule(every=float(every), jitter=float(jitter))


def _is_number(value: JSON) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # A whole number may be too large to be asked whether it is finite.
    return value >= 0 and (isinstance(value, int) or math.isfinite(value))
