"""How a failed run is tried again."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from .checks import check_span, is_whole
from .errors import DefinitionError
from .spans import LONGEST, Span

_MOST_FACTOR = 1_000_000
_MOST_ATTEMPTS = 1_000_000_000
"""Temporal counts attempts in 32 bits."""

Backoff = Literal["exponential", "linear", "fixed"]


@dataclass(frozen=True, slots=True)
class Retry:
    """The retry rule of a job.

    `max_attempts` counts the first one; `None` is without limit. Waits start at `initial` and grow
    to `maximum` by `factor` (exponential) or by `initial` (linear). `jitter` draws a wait between
    half and the whole of it. No attempt begins later than `max_duration` after the first one's
    start. An error of a class in `non_retryable`, or of a subclass, fails the run at once.
    """

    max_attempts: int | None = None
    initial: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    maximum: timedelta = timedelta(minutes=5)
    backoff: Backoff = "exponential"
    jitter: bool = True
    max_duration: timedelta | None = None
    non_retryable: tuple[type[BaseException], ...] = ()

    def check(self, job: str) -> None:
        """Raise `DefinitionError` where a value makes no sense."""
        self._check_numbers(job)
        for name in ("initial", "maximum", "max_duration"):
            value = getattr(self, name)
            check_span(job, f"retry.{name}", value, or_none=name == "max_duration")
        if self.maximum < self.initial:
            raise DefinitionError(
                f"{job}: retry.maximum is at least retry.initial; they are {self.maximum} and "
                f"{self.initial}"
            )
        if self.backoff not in ("exponential", "linear", "fixed"):
            raise DefinitionError(f"{job}: retry.backoff is exponential, linear or fixed")
        if not isinstance(self.jitter, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{job}: retry.jitter is True or False, it is {self.jitter!r}")
        self._check_classes(job)

    def _check_numbers(self, job: str) -> None:
        most = self.max_attempts
        if most is not None and not (is_whole(most) and 1 <= most <= _MOST_ATTEMPTS):
            raise DefinitionError(
                f"{job}: retry.max_attempts is a whole number from 1 to {_MOST_ATTEMPTS:,}, or "
                f"None for no limit; it is {most!r}"
            )
        factor: Any = self.factor
        if not isinstance(factor, int | float) or not 1 <= factor <= _MOST_FACTOR:
            raise DefinitionError(
                f"{job}: retry.factor is a number from 1 to {_MOST_FACTOR:,}, it is {factor!r}"
            )

    def _check_classes(self, job: str) -> None:
        if not isinstance(self.non_retryable, tuple):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{job}: retry.non_retryable is a tuple of exception classes")
        for cls in self.non_retryable:
            if not (isinstance(cls, type) and issubclass(cls, BaseException)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(f"{job}: retry.non_retryable holds exception classes")

    def rule(self) -> "RetryRule":
        """The same as data, as it is recorded in history."""
        return RetryRule(
            max_attempts=self.max_attempts,
            initial=self.initial.total_seconds(),
            factor=self.factor,
            maximum=self.maximum.total_seconds(),
            backoff=self.backoff,
            jitter=self.jitter,
            max_duration=self.max_duration.total_seconds() if self.max_duration else None,
            non_retryable=[qualified_name(cls) for cls in self.non_retryable],
        )


def qualified_name(cls: type[Any]) -> str:
    """`module.Class`: how a class is named in history."""
    return f"{cls.__module__}.{cls.__qualname__}"


class RetryRule(BaseModel):
    """A `Retry` as recorded in history: seconds and class names."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    max_attempts: Annotated[int, Field(ge=1)] | None
    initial: Span
    factor: Annotated[float, Field(ge=1, le=_MOST_FACTOR)]
    maximum: Span
    backoff: Backoff
    jitter: bool
    max_duration: Span | None
    non_retryable: list[str]

    def forbids(self, error: BaseException) -> bool:
        """Whether the error's class, or a base of it, is listed as non-retryable."""
        return any(qualified_name(cls) in self.non_retryable for cls in type(error).__mro__)

    def delay(self, attempt: int, chance: float | None = None) -> timedelta:
        """The wait after failed attempt number `attempt` (from 1).

        `chance`, from 0 to 1, draws the jitter; without one, Python does.
        """
        wait = min(self._wait(attempt), self.maximum, LONGEST.total_seconds())
        if not self.jitter:
            return timedelta(seconds=wait)
        drawn = random.random() if chance is None else chance
        # Half to whole: spreads retries without ever making one much earlier than asked for.
        return timedelta(seconds=wait * (0.5 + drawn / 2))

    def _wait(self, attempt: int) -> float:
        if self.backoff == "fixed":
            return self.initial
        if self.backoff == "linear":
            return self.initial * attempt
        try:
            return self.initial * self.factor ** (attempt - 1)
        except OverflowError:
            return self.maximum
