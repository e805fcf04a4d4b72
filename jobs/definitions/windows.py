"""The flush rules of debounce jobs: what they may be, and as data."""

from typing import TYPE_CHECKING, Any

from ..checks import check_span, is_whole
from ..errors import DefinitionError
from ..protocol import Detail
from .reducers import collect

if TYPE_CHECKING:
    from .debounce import DebounceJob

COLLECTED_BYTES = 256 * 1024
"""Of events in one list: half of what a state may have, as types may write them out longer."""

_TIMES = ("flush_after", "quiet_for")
_COUNTS = ("max_events", "max_bytes")


def rules_of(job: "type[DebounceJob[Any, Any]]") -> Detail:
    """The rules as data, in seconds and bytes."""
    spans = {name: getattr(job, name) for name in (*_TIMES, "dedupe_for")}
    return {
        **{name: span.total_seconds() if span else None for name, span in spans.items()},
        "max_events": job.max_events,
        "max_bytes": job.max_bytes,
        "most_bytes": COLLECTED_BYTES if _collects(job) else None,
        "leading": job.leading,
    }


def _collects(job: "type[DebounceJob[Any, Any]]") -> bool:
    return getattr(job.reduce, "__func__", job.reduce) is collect


def check_rules(job: "type[DebounceJob[Any, Any]]") -> None:
    """Raise `DefinitionError` where they make no sense, alone or together."""
    label = job.__qualname__
    _check_each(job, label)
    for wrong in _wrong_together(job):
        raise DefinitionError(f"{label}: {wrong}")


def _check_each(job: "type[DebounceJob[Any, Any]]", label: str) -> None:
    if all(getattr(job, name) is None for name in (*_TIMES, *_COUNTS)):
        raise DefinitionError(f"{label}: no flush rule; set {', '.join((*_TIMES, *_COUNTS))}")
    for name in (*_TIMES, "dedupe_for"):
        check_span(label, name, getattr(job, name), or_none=True)
    for name in _COUNTS:
        count = getattr(job, name)
        if count is not None and not (is_whole(count) and count > 0):
            raise DefinitionError(f"{label}: {name} is a whole number from 1, it is {count!r}")
    if not isinstance(job.leading, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"{label}: leading is True or False, it is {job.leading!r}")


def _wrong_together(job: "type[DebounceJob[Any, Any]]") -> list[str]:
    return [*_wrong_times(job), *_wrong_leading(job), *_wrong_counts(job)]


def _wrong_times(job: "type[DebounceJob[Any, Any]]") -> list[str]:
    wrong: list[str] = []
    if job.flush_after and job.quiet_for and job.quiet_for >= job.flush_after:
        wrong.append(
            "quiet_for is no shorter than flush_after, which would always flush before it; leave "
            "one out"
        )
    for name in _TIMES:
        span = getattr(job, name)
        if job.dedupe_for and span and job.dedupe_for <= span:
            wrong.append(
                f"dedupe_for is no longer than {name}, but within a window ids are remembered "
                "anyway"
            )
    return wrong


def _wrong_leading(job: "type[DebounceJob[Any, Any]]") -> list[str]:
    wrong: list[str] = []
    if job.leading and not (job.flush_after or job.quiet_for):
        wrong.append(
            "leading needs flush_after or quiet_for: without one nothing says when an instance is "
            "quiet again, so that its next event may run at once"
        )
    if job.leading and job.max_events == 1:
        wrong.append("leading is of no use with max_events = 1, where every event runs at once")
    return wrong


def _wrong_counts(job: "type[DebounceJob[Any, Any]]") -> list[str]:
    if not _collects(job) or job.max_bytes is None or job.max_bytes <= COLLECTED_BYTES:
        return []
    return [
        f"max_bytes is more than the {COLLECTED_BYTES:,} bytes at which a list of `collect` flushes"
    ]
