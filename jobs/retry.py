"""How a failed run is tried again."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from .errors import DefinitionError

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
        self._check_kinds(job)
        if self.max_attempts is not None and self.max_attempts < 1:
            raise DefinitionError(f"{job}: retry.max_attempts must be at least 1, or None")
        if self.initial <= timedelta() or self.maximum < self.initial:
            raise DefinitionError(f"{job}: retry needs 0 < initial <= maximum")
        if self.factor < 1:
            raise DefinitionError(f"{job}: retry.factor must be at least 1")
        if self.backoff not in ("exponential", "linear", "fixed"):
            raise DefinitionError(f"{job}: retry.backoff is exponential, linear or fixed")
        if self.max_duration is not None and self.max_duration <= timedelta():
            raise DefinitionError(f"{job}: retry.max_duration must be positive, or None")
        self._check_classes(job)

    def _check_kinds(self, job: str) -> None:
        if self.max_attempts is not None and not is_whole(self.max_attempts):
            raise DefinitionError(f"{job}: retry.max_attempts is a whole number, or None")
        for name in ("initial", "maximum", "max_duration"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) and (name, value) != ("max_duration", None):
                raise DefinitionError(f"{job}: retry.{name} is a timedelta, it is {value!r}")

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


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, which True is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def qualified_name(cls: type[Any]) -> str:
    """`module.Class`: how a class is named in history."""
    return f"{cls.__module__}.{cls.__qualname__}"


class RetryRule(BaseModel):
    """A `Retry` as recorded in history: seconds and class names."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    max_attempts: int | None
    initial: float
    factor: float
    maximum: float
    backoff: Backoff
    jitter: bool
    max_duration: float | None
    non_retryable: list[str]

    def forbids(self, error: BaseException) -> bool:
        """Whether the error's class, or a base of it, is listed as non-retryable."""
        return any(qualified_name(cls) in self.non_retryable for cls in type(error).__mro__)

    def delay(self, attempt: int, chance: float | None = None) -> timedelta:
        """The wait after failed attempt number `attempt` (from 1).

        `chance`, from 0 to 1, draws the jitter; without one, Python does.
        """
        wait = min(self._wait(attempt), self.maximum)
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
        # 2**64 s is beyond any maximum, and a float power overflows from about 1,000.
        return self.initial * self.factor ** min(attempt - 1, 64)
