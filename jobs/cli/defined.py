"""`durable-jobs jobs`: what a module defines, checked as a worker checks it."""

import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.text import Text

from ..definitions import Job
from ..loading import load_jobs, opened
from ..protocol import Options
from ..registry import Registry
from ..retry import RetryRule
from .lines import events_text
from .options import print_json
from .screen import console, print_hanging
from .show import schedule_text
from .spans import span_text


async def show_jobs(references: tuple[str, ...], *, as_json: bool) -> int:
    """Print what they define; raises `JobsError` where a worker could not run it."""
    async with opened(*(load_jobs(reference) for reference in references)) as found:
        registry = Registry(found, None)
        described = [(job, registry.options(job.name)) for job in registry]
    if as_json:
        print_json([_json(job, options) for job, options in described])
        return 0
    for job, options in described:
        _print(job, options)
    count = len(described)
    console().print(Text(f"{count} job{'s' * (count > 1)}, checked as a worker checks them", "dim"))
    return 0


def _json(job: Job, options: Options) -> dict[str, Any]:
    return {
        "jobType": job.job_type,
        "jobName": job.name,
        "class": _class_name(job),
        "place": _place(job),
        "types": dict(_types(job)),
        "options": options.model_dump(mode="json", exclude={"tracking", "digest"}),
    }


def _print(job: Job, options: Options) -> None:
    out = console()
    out.print(Text.assemble((f"{job.job_type}:{job.name}", "bold"), f"  {_class_name(job)}",
                            (f"  {_place(job)}", "dim")))  # fmt: skip
    for name, value in rows_of(job, options):
        print_hanging(out, Text(f"  {name:8}  ", "dim"), Text(value))


def rows_of(job: Job, options: Options) -> Iterator[tuple[str, str]]:
    """What is worth knowing of a job, in words."""
    yield "runs", "; ".join(_RUNS[job.job_type](job))
    if types := ", ".join(f"{name} {text}" for name, text in _types(job)):
        yield "types", types
    yield "retry", f"{retry_text(options.retry)}; then {options.on_exhausted}"
    yield "handlers", f"{', '.join(options.handlers)}, {_span(options.timeout)} an attempt"


def retry_text(rule: RetryRule) -> str:
    """A retry rule in words."""
    if rule.max_attempts == 1:
        return "none"
    most = "no limit of attempts" if rule.max_attempts is None else f"{rule.max_attempts} attempts"
    if rule.max_duration is not None:
        most += f" within {_span(rule.max_duration)}"
    if rule.backoff == "fixed":
        return f"{most}, {_span(rule.initial)} apart"
    return f"{most}, {rule.backoff} from {_span(rule.initial)} to {_span(rule.maximum)}"


def _continuous(job: Any) -> Iterator[str]:
    yield schedule_text(job.schedule.rule().model_dump(exclude_defaults=True))
    if job.keys:
        yield f"a worker starts {', '.join(job.keys)}"
    if job.max_runs is not None:
        yield f"at most {job.max_runs:,} times"
    if job.until is not None:
        yield f"until {job.until.isoformat()}"


def _debounce(job: Any) -> Iterator[str]:
    if job.flush_after is not None:
        yield f"{span_text(job.flush_after)} after a window's first event"
    if job.quiet_for is not None:
        yield f"{span_text(job.quiet_for)} after its last"
    if job.max_events is not None:
        yield f"at {job.max_events:,} events"
    if job.max_bytes is not None:
        yield f"at {job.max_bytes:,} bytes"
    if job.leading:
        yield "the first event of a quiet instance at once"


def _task(job: Any) -> Iterator[str]:
    yield "for each event, in order"
    yield "execute when its alarm rings"
    if job.idle_timeout is not None:
        yield f"ends after {span_text(job.idle_timeout)} without an event"


def _pool(job: Any) -> Iterator[str]:
    yield f"{events_text(job.concurrency)} at a time"
    if job.idle_timeout is not None:
        yield f"an instance ends after {span_text(job.idle_timeout)} without an event"


_RUNS = {"continuous": _continuous, "debounce": _debounce, "task": _task, "workerPool": _pool}


def _types(job: Job) -> Iterator[tuple[str, str]]:
    for name in ("event", "state", "reply"):
        kind = getattr(type(job), f"{name}_type")
        if kind is not type(None) and kind is not None:
            yield name, type_name(kind)


def type_name(kind: Any) -> str:
    """A type as its author writes it."""
    return kind.__qualname__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _class_name(job: Job) -> str:
    return f"{type(job).__module__}.{type(job).__qualname__}"


def _place(job: Job) -> str:
    try:
        file, (_, line) = inspect.getfile(type(job)), inspect.getsourcelines(type(job))
    except (OSError, TypeError):
        return ""
    path = Path(file)
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"


def _span(seconds: float) -> str:
    return span_text(timedelta(seconds=seconds))
