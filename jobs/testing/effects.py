"""What handlers do to the world, and what they would do twice where a worker dies."""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from durable_jobs.activities.attempt import Attempt, current_attempt
from durable_jobs.protocol import RunRequest
from durable_jobs.wire import model_from_raw, to_raw

T = TypeVar("T")

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Effect:
    """One call that a handler made, and that did not fail."""

    run: str
    """What ran: job, handler, key and number."""

    attempt: int
    idempotency_key: str
    call: str
    """The method and its arguments."""

    @property
    def is_named(self) -> bool:
        """Whether whoever is called can tell a repetition: it is given the run's key."""
        return self.idempotency_key in self.call


@dataclass
class Effects:
    """Notes the calls that handlers make of watched objects."""

    made: list[Effect] = field(default_factory=list[Effect])

    def watch(self, target: T) -> T:
        """The same object; calls of its methods by handlers are noted."""
        return cast("T", _Watched(target, self._note))

    def _note(self, call: str) -> None:
        attempt = _attempt()
        if attempt is None:
            return
        request = attempt.request
        run = f"{request.job}.{request.handler} of key {request.key!r}, run {request.run_count}"
        known = request.attempt, request.idempotency_key
        self.made.append(Effect(run, *known, _ADDRESS.sub("", call)))

    @property
    def doubled(self) -> list[Effect]:
        """Calls of later attempts that an earlier one of the run made too, and that do not say so.

        So it goes where a worker dies, or a handler fails, after it did something.
        """
        before = {(each.idempotency_key, each.call): each.attempt for each in reversed(self.made)}
        return [
            each
            for each in self.made
            if each.attempt > before[each.idempotency_key, each.call] and not each.is_named
        ]

    def report(self) -> str:
        """What doubled, in words; empty where nothing did."""
        if not (doubled := self.doubled):
            return ""
        return "\n".join(
            [
                "Done twice, by two attempts of one run:",
                *(f"  {each.run}: {each.call}" for each in doubled),
                "Pass run.idempotency_key on, so that whoever is called can tell a repetition.",
            ]
        )


class _Watched:
    def __init__(self, target: object, note: Callable[[str], None]) -> None:
        self._target = target
        self._note = note

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return self._noting(name, found) if callable(found) else found

    def _noting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            shown = [*map(repr, args), *(f"{each}={value!r}" for each, value in named.items())]
            made = f"{type(self._target).__name__}.{name}({', '.join(shown)})"
            result = method(*args, **named)
            if inspect.isawaitable(result):
                return self._awaited(result, made)
            self._note(made)
            return result

        return call

    async def _awaited(self, result: Awaitable[Any], made: str) -> Any:
        found = await result
        self._note(made)
        return found


def _attempt() -> Attempt | None:
    try:
        return current_attempt()
    except LookupError:
        return None


class Killing:
    """Whether workers are killed between an attempt's effect and its report."""

    def __init__(self) -> None:
        self.on = False

    def next_attempt(self, request: RunRequest) -> RunRequest | None:
        """The attempt that follows one whose worker is killed; None where none is killed."""
        if not self.on or request.attempt > 1:
            return None
        return request.model_copy(update={"attempt": request.attempt + 1})

    def next_attempt_of(self, payload: Any) -> Any:
        """The same for the payload of an activity."""
        following = self.next_attempt(model_from_raw(RunRequest, payload))
        return None if following is None else to_raw(following)


killing: Killing = Killing()
