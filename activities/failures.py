"""What a failed attempt means: whether it is tried again, and how it reads."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from textwrap import indent
from types import TracebackType
from typing import Any, cast

from pydantic import ValidationError
from temporalio.converter import PayloadConverter
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError

from durable_jobs.errors import (
    InvalidState,
    Later,
    NonRetryable,
    PayloadTooLarge,
    RetryAfter,
    StateMismatch,
)
from durable_jobs.faults import faults_of
from durable_jobs.names import NOT_REGISTERED
from durable_jobs.protocol import Limit, Options, RunRequest
from durable_jobs.spans import LONGEST
from durable_jobs.wire import as_unicode

MAX_MESSAGE = 2_000
MAX_STACK = 8_000
MAX_DETAILS = 64 * 1024  # bytes
MAX_DETAILS_COUNT = 100
MAX_CAUSES = 5
MAX_INNER = 5
"""Of a group's errors so many are told of."""

_LEAST_STACK = 400

_PLUMBING = ("durable_jobs.", "temporalio.", "asyncio.", "concurrent.", "threading")
"""Modules between the activity and the handler."""

_FINAL = (NonRetryable, PayloadTooLarge, StateMismatch, InvalidState)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a failed attempt is followed by another."""

    retry_in: timedelta | None = None
    """None: the run has failed for good."""

    exhausted: Limit | None = None
    """The limit that was reached, where one was."""


def decide(
    error: BaseException,
    request: RunRequest,
    options: Options | None,
    first_started_at: datetime,
    now: datetime,
) -> Decision:
    """What follows a failed attempt, by the retry rule of the worker that made it."""
    if _is_final(error) or options is None or options.retry.forbids(error):
        return Decision()
    retry = options.retry
    if retry.max_attempts is not None and request.attempt >= retry.max_attempts:
        return Decision(exhausted="max_attempts")
    asked = _asked_wait(error, now)
    wait = retry.delay(request.attempt) if asked is None else asked
    wait = min(max(wait, timedelta()), LONGEST)
    ends = [] if request.deadline is None else [request.deadline]
    if retry.max_duration is not None:
        longest = min(retry.max_duration, LONGEST.total_seconds())
        ends.append(first_started_at + timedelta(seconds=longest))
    if any(now + wait >= end for end in ends):
        return Decision(exhausted="max_duration")
    return Decision(retry_in=wait)


def _is_final(error: BaseException) -> bool:
    if isinstance(error, ApplicationError):
        return bool(_said(lambda: error.non_retryable))
    return isinstance(error, _FINAL)


def _asked_wait(error: BaseException, now: datetime) -> timedelta | None:
    wait: Any = None
    if isinstance(error, RetryAfter):
        wait = _said(lambda: error.delay(now))
    elif isinstance(error, ApplicationError):
        wait = _said(lambda: error.next_retry_delay)
    return wait if isinstance(wait, timedelta) else None


def _said(read: Callable[[], Any]) -> Any:
    """What an error says of itself; None where it cannot: its class may be one of the user's."""
    try:
        return read()
    except Exception:
        return None


def titled(error: BaseException) -> str:
    """The error's type and text, as everything that shows an error shows it: `KeyError: 'sku'`."""
    kind, text = type_of(error), message_of(error)
    return kind if text == kind else f"{kind}: {text}"[:MAX_MESSAGE]


def in_a_line(error: BaseException) -> str:
    """The same without a break, for logs."""
    return " ".join(titled(error).split())


def type_of(error: BaseException) -> str:
    """The error's name in Temporal: its class name, as the SDK has it."""
    if isinstance(error, ApplicationError) and (given := _said(lambda: error.type)):
        return as_unicode(str(given))
    name = type(error).__name__
    # Temporal's own error of that name has a meaning of its own to the workflow.
    return f"{type(error).__module__}.{name}" if name == NOT_REGISTERED else name


def message_of(error: BaseException) -> str:
    """The error's text without its type, as Temporal keeps it.

    It never quotes event data: pydantic's inputs are left out. That of a group names the first
    errors in it, however deep.
    """
    if isinstance(error, ValidationError):
        found = faults_of(error)
        count = f"{len(found)} validation error{'s' if len(found) > 1 else ''}"
        text = f"{count} for {error.title}: {'; '.join(found[:10])}"
    elif isinstance(error, ApplicationError):
        given = _said(lambda: error.message)
        text = _text_of(error) if given is None else str(given)
    elif members := _members_of(error):
        text = f"{_text_of(error)}: {_first_of(members)}"
    else:
        text = _text_of(error)
    return as_unicode((text or type_of(error))[:MAX_MESSAGE])


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as problem:
        # Code of the user's too; the failure that it is about is still the one to tell of.
        return f"its text cannot be read: {type(problem).__name__}"


def _members_of(error: BaseException) -> tuple[BaseException, ...]:
    """What is in a group; nothing is in another error."""
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[Any]", error).exceptions


def _first_of(members: tuple[BaseException, ...]) -> str:
    found = list(islice(_singles(members), MAX_INNER + 1))
    texts = [titled(error)[: MAX_MESSAGE // MAX_INNER] for error in found[:MAX_INNER]]
    return "; ".join([*texts, "…"] if len(found) > MAX_INNER else texts)


def _singles(members: tuple[BaseException, ...]) -> Iterator[BaseException]:
    """The errors of a group and of those within it, in order."""
    waiting = [iter(members)]
    while waiting:
        error = next(waiting[-1], None)
        if error is None:
            waiting.pop()
        elif within := _members_of(error):
            waiting.append(iter(within))
        else:
            yield error


def _users_part(frames: TracebackType | None) -> TracebackType | None:
    """The frames from the user's code on: those before it are the same for every failure."""
    current = frames
    while current is not None:
        module = str(current.tb_frame.f_globals.get("__name__", ""))
        if not module.startswith(_PLUMBING):
            return current
        current = current.tb_next
    return frames


def stack_of(error: BaseException) -> str:
    """The traceback, causes and a group's errors included, with types and texts as `titled`.

    A group's errors come below it, as Python prints them.
    """
    return as_unicode(_stack(error, MAX_STACK))


def _stack(error: BaseException, limit: int) -> str:
    chain = list(islice(chain_of(error), MAX_CAUSES))
    # What is within may take most of the room; less with each level, so that all has an end.
    room = limit * 3 // 4 // len(chain)
    parts = [
        f"{''.join(traceback.format_tb(_users_part(each.__traceback__)))}{titled(each)}"
        f"{_stacks_within(each, room)}"
        for each in reversed(chain)
    ]
    # The end says most: where it was raised, and what.
    return "\n\nThen:\n".join(parts)[-limit:]


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause's cause and so on."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )


def cause_of(error: BaseException, most: int = MAX_CAUSES - 1) -> BaseException | None:
    """The error's cause as Temporal is to keep it, with texts as `message_of` gives them.

    The SDK would take the texts as they are, and could not report the failure at all where one
    cannot be read or written.
    """
    cause = error.__cause__ if most else None
    if cause is None or (isinstance(cause, FailureError) and cause.failure):
        return cause
    told = ApplicationError(message_of(cause), type=type_of(cause))
    told.__cause__ = cause_of(cause, most - 1)
    return told.with_traceback(cause.__traceback__)


def details_of(error: BaseException, converter: PayloadConverter) -> list[Any]:
    """An `ApplicationError`'s details, for another one to carry.

    One that cannot be written, or is too much, is left out by name: else nothing of the failure
    could be reported, its text and the wait that it chose included.
    """
    if not isinstance(error, ApplicationError):
        return []
    room, kept = MAX_DETAILS, list[Any]()
    for detail in _said(lambda: error.details) or ():
        written = _said(lambda each=detail: converter.to_payload(each).ByteSize())
        if written is None:
            kept.append(f"left out: JSON cannot hold an instance of {type(detail).__name__}")
        elif written > room:
            kept.append(f"left out: {written:,} bytes are too much")
        else:
            room -= written
            kept.append(detail)
    return kept[:MAX_DETAILS_COUNT]


def category_of(error: BaseException) -> ApplicationErrorCategory:
    """`BENIGN` for an expected failure, of which the SDK logs no traceback."""
    if isinstance(error, Later):
        return ApplicationErrorCategory.BENIGN
    given = _said(lambda: error.category) if isinstance(error, ApplicationError) else None
    known = isinstance(given, ApplicationErrorCategory)
    return given if known else ApplicationErrorCategory.UNSPECIFIED


def _stacks_within(error: BaseException, room: int) -> str:
    """The stacks of the first errors of a group, as far as there is room."""
    members = _members_of(error)
    shown = members[:MAX_INNER]
    if not shown or (each := room // len(shown)) < _LEAST_STACK:
        return ""
    stacks = [
        f"\n  +---------------- {number} ----------------\n{indent(_stack(inner, each), '  | ')}"
        for number, inner in enumerate(shown, 1)
    ]
    more = len(members) - len(shown)
    return "".join([*stacks, f"\n  +---------------- and {more} more" if more else ""])
