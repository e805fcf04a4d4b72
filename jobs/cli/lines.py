"""A tracking event as one line for people."""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any, TextIO, cast

from .colours import ORANGE_CODE, TEAL_CODE
from .logs import moment

Event = Mapping[str, Any]

_RED, _GREEN, _DIM = "31", "32", "2"
_COLOURS = {
    "job.executed": _GREEN,
    "debounce.flushed": _GREEN,
    "job.failed": ORANGE_CODE,
    "job.retryExhausted": _RED,
    "job.terminated": _RED,
    "job.started": TEAL_CODE,
    "debounce.started": TEAL_CODE,
    "task.scheduled": TEAL_CODE,
    "job.paused": ORANGE_CODE,
    "job.resumed": TEAL_CODE,
}
_LONGEST = 200  # characters of a text that users wrote
_LONGEST_ID = 250
_INDENT = "    "


def colours_wanted(stream: TextIO) -> bool:
    """On a terminal, unless NO_COLOR (https://no-color.org) says otherwise."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def event_line(event: Event, *, colours: bool = False, width: int | None = None) -> str:
    """The local time as in logs, the instance, what happened and the telling fields.

    These stand below the rest where a terminal of `width` has no room beside it.
    """
    kind = plain(event.get("type", "?"))
    time, shown = _moment(event.get("timestamp")), kind.ljust(18)
    instance, details = plain(event.get("instanceId", "?"), _LONGEST_ID), _details(kind, event)
    fits = width is None or len(f"{time}  {shown}  {instance}  {details}") <= width
    if colours:
        time, shown = _paint(time, _DIM), _paint(shown, _COLOURS.get(kind, _DIM))
    head = f"{time}  {shown}  {instance}"
    if width is None or fits:
        return f"{head}  {details}".rstrip()
    below = wrap(details, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return "\n".join([head, *below])


def width_of(stream: TextIO) -> int | None:
    """The columns of a terminal; a file or a pipe has no width."""
    return get_terminal_size().columns if stream.isatty() else None


def _details(kind: str, event: Event) -> str:
    telling = _TELLING.get(kind)
    return telling(event) if telling is not None else ""


def _executed(event: Event) -> str:
    handler = f" {plain(event['handler'])}" if "handler" in event else ""
    return f"{_run(event)}{handler}, {event.get('durationMs')} ms"


def _failed(event: Event) -> str:
    then = "will retry" if event.get("willRetry") else "no further try"
    return f"{_run(event)}, {then}: {plain(_message(event.get('error')))}"


def _exhausted(event: Event) -> str:
    return f"after {event.get('attempts')} attempts ({plain(event.get('reason'))})"


def _opened(event: Event) -> str:
    return f"flush at {_moment(event.get('flushAt'))}"


def _flushed(event: Event) -> str:
    reason = plain(event.get("flushReason") or event.get("reason"))
    return f"{events_text(event.get('eventCount'))}, {reason}, {event.get('durationMs')} ms"


def _scheduled(event: Event) -> str:
    return f"for {_moment(event.get('scheduledAt'))}, by {plain(event.get('trigger'))}"


def _paused(event: Event) -> str:
    return _by(event, "after its retries were exhausted")


def _resumed(event: Event) -> str:
    return _by(event, "by itself, as a run succeeded")


def _by(event: Event, exhausted: str) -> str:
    who = exhausted if event.get("by") == "exhausted" else "by a caller"
    return f"{who}: {plain(event['note'])}" if event.get("note") else who


def _run(event: Event) -> str:
    attempt = event.get("attempt")
    run = f"run {event.get('runCount')}"
    return run if attempt in (None, 1) else f"{run} attempt {attempt}"


def _message(error: object) -> object:
    return cast("Event", error).get("message") if isinstance(error, dict) else error


def _terminated(event: Event) -> str:
    parts = [f"after {event.get('runCount')} runs"]
    if reason := event.get("reason"):
        parts.append(plain(reason))
    if discarded := event.get("discardedEvents"):
        parts.append(f"{events_text(discarded)} discarded")
    return ", ".join(parts)


_TELLING: dict[str, Callable[[Event], str]] = {
    "job.executed": _executed,
    "job.failed": _failed,
    "job.retryExhausted": _exhausted,
    "job.terminated": _terminated,
    "job.paused": _paused,
    "job.resumed": _resumed,
    "debounce.started": _opened,
    "debounce.flushed": _flushed,
    "task.scheduled": _scheduled,
}


def _moment(value: object) -> str:
    try:
        return moment(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        return "?"


def events_text(count: object) -> str:
    """How many events, in words."""
    return "1 event" if count == 1 else f"{count} events"


def plain(value: object, longest: int = _LONGEST) -> str:
    """On one line, and nothing in it that a terminal would obey."""
    text = " ".join(str(value).split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"
