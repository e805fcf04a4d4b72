"""A status as people read it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.text import Text

from .colours import ORANGE, TEAL
from .lines import plain
from .screen import console, print_hanging
from .spans import moment_text, span_text

if TYPE_CHECKING:
    from .attempts import Attempt

Status = dict[str, Any]

STYLES = {"running": TEAL, "retrying": ORANGE, "paused": ORANGE, "failed": "red"}


_RED = ("last error", "rejected")
_SHOWN_FAILED = 10
_LONGEST = 500  # characters of a line

_CAUSES = {"exhausted": "after its last attempt failed", "job": "with its whole job"}


def show_status(
    status: Status, link: str | None = None, attempts: "Sequence[Attempt]" = ()
) -> None:
    """Print a status, a line for each thing, and where the last failure came from."""
    out = console()
    out.print(Text(plain(status["instanceId"], _LONGEST), style="bold"), soft_wrap=True)
    rows = [*_rows(status), *_attempt_rows(attempts, status["lastError"])]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        style = STYLES.get(value, "") if name == "status" else ""
        body = Text(value, "red" if name in _RED else style)
        print_hanging(out, Text(f"{name:{width}}  ", "dim"), body)
    if link:
        # In one piece, so that a terminal can follow it.
        out.print(Text.assemble((f"{'Temporal UI':{width}}  ", "dim"), link), soft_wrap=True)
    stack = next((each.outcome.stack for each in attempts if each.outcome.stack), None)
    if status["lastError"] is not None and stack is not None:
        out.print(Text("\nthe stack of the last failed attempt", style="dim"))
        lines = (_indented(line) for line in stack.splitlines())
        out.print(Text("\n".join(lines)), soft_wrap=True)


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    yield "status", status["status"]
    if status.get("reason") is not None:
        yield "reason", plain(status["reason"])
    yield from _pause_rows(status)
    if status.get("schedule") is not None:
        own = " (set by reschedule)" if status.get("rescheduled") else ""
        yield "schedule", schedule_text(status["schedule"]) + own
    for name, field in (("next run", "nextRunAt"), ("flush", "willFlushAt")):
        if status.get(field) is not None and (name == "flush" or not status.get("willFlushAt")):
            yield name, _moment(status[field])
    yield "runs", f"{status['runCount']}{_attempt(status)}"
    if status.get("progress") is not None:
        yield "progress", progress_text(status["progress"])
    if status["jobType"] != "continuous":
        yield "events", _events_text(status)
    yield "started", _moment(status["startedAt"])
    if status["lastError"] is not None:
        yield "last error", plain(status["lastError"])
    yield from _trouble_rows(status)


def _attempt(status: Status) -> str:
    if not status["attempt"]:
        return ""
    is_next = status["status"] == "retrying"
    return f", attempt {status['attempt']} {'is next' if is_next else 'under way'}"


def _attempt_rows(attempts: "Sequence[Attempt]", shown: str | None) -> Iterator[tuple[str, str]]:
    """Each attempt, the last one first; an error that stands above it already is not repeated."""
    for number, each in enumerate(attempts):
        error = each.outcome.error
        repeated = error == shown
        yield "" if number else "attempts", _attempt_text(each, with_error=not repeated)
        shown = error or shown


def _attempt_text(attempt: "Attempt", *, with_error: bool) -> str:
    outcome = attempt.outcome
    began = moment_text(attempt.began_at) if attempt.began_at else "waits for a worker"
    numbered = f", attempt {outcome.number}" if outcome.number else ""
    took = f" after {span_text(attempt.took)}" if attempt.took and attempt.began_at else ""
    where = f" on {plain(attempt.worker)}" if attempt.worker else ""
    error = f": {plain(outcome.error)}" if outcome.error and with_error else ""
    return f"{began}, {plain(attempt.handler)}{numbered}, {outcome.word}{took}{where}{error}"


def _indented(line: str) -> str:
    return " " * (len(line) - len(line.lstrip())) + plain(line, _LONGEST)


def _events_text(status: Status) -> str:
    draining = ", then it ends" if status.get("draining") else ""
    oldest = f", the oldest since {_moment(at)}" if (at := status.get("oldestEventAt")) else ""
    return f"{status['eventCount']} waiting{oldest}{draining}"


def _pause_rows(status: Status) -> Iterator[tuple[str, str]]:
    if status.get("pausedAt") is not None:
        by = _CAUSES.get(status["pausedBy"], "by a caller")
        yield "paused", f"{_moment(status['pausedAt'])}, {by}"
    if status.get("pauseNote") is not None:
        yield "note", plain(status["pauseNote"])
    if status.get("resumeNote") is not None:
        yield "resumed", f"{_moment(status['resumedAt'])}: {plain(status['resumeNote'])}"


def _trouble_rows(status: Status) -> Iterator[tuple[str, str]]:
    if status["rejectedEvents"]:
        last = status.get("rejections") or [{"reason": "?"}]
        yield "rejected", f"{status['rejectedEvents']}, the last: {plain(last[-1]['reason'])}"
    if status.get("failedEvents"):
        count = len(status["failedEvents"])
        yield "set aside", f"{count} events, for redrive; the last of them:"
        for failed in status["failedEvents"][-_SHOWN_FAILED:]:
            yield "", f"{plain(failed.get('id', '?'))}: {plain(failed.get('error', '?'))}"
    if status.get("discardedEvents"):
        yield "discarded", f"{status['discardedEvents']} events"
    tracking = status["tracking"]
    counts = [f"{tracking[n]} {n}" for n in ("pending", "delivered", "rejected", "dropped")]
    if any(tracking[name] for name in ("pending", "delivered", "rejected", "dropped")):
        error = f"; {plain(tracking['lastError'])}" if tracking.get("lastError") else ""
        yield "tracking", ", ".join(counts) + error


def schedule_text(rule: Status) -> str:
    """A schedule rule in words."""
    jitter = rule.get("jitter")
    delayed = f", delayed by up to {span_text(timedelta(seconds=jitter))}" if jitter else ""
    if "every" in rule:
        return f"every {span_text(timedelta(seconds=rule['every']))}{delayed}"
    return f"cron {plain(rule['cron'])!r} in {plain(rule.get('timezone', 'UTC'))}{delayed}"


def progress_text(progress: Any) -> str:
    """What `run.progress` was given, in words."""
    if not isinstance(progress, dict):
        return plain(progress)
    given: Status = progress  # pyright: ignore[reportUnknownVariableType]
    done, total, message = given.get("done"), given.get("total"), given.get("message")
    of = f" of {total:g} ({100 * done / total:.0f} %)" if total and done is not None else ""
    counted = f"{done:g}{of}" if done is not None else ""
    return ", ".join(part for part in (counted, plain(message) if message else "") if part)


def _moment(text: str) -> str:
    return moment_text(datetime.fromisoformat(text))
