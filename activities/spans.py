"""The OpenTelemetry span around each attempt of a handler."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from durable_jobs.errors import RetryAfter, Snooze
from durable_jobs.protocol import RunRequest, RunResult
from durable_jobs.traceparent import MOST_LINKS, is_sampled
from durable_jobs.tracing import Attributes, attributes, tracer

from .burst import was_stopped
from .failures import message_of, stack_of, type_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer

Note = Callable[[RunResult | BaseException], None]
"""Takes what came of the attempt."""

_UNTRACED: AbstractContextManager[Note] = nullcontext(lambda _: None)

_ONE_EVENT = ("task", "workerPool")
"""Job types whose runs have one event each."""


def processing(request: RunRequest) -> AbstractContextManager[Note]:
    """A consumer span around an attempt, where the user has set tracing up."""
    found = tracer()
    return _UNTRACED if found is None else _processing(found, request)


@contextmanager
def _processing(tracer: "Tracer", request: RunRequest) -> Generator[Note]:
    from opentelemetry.trace import Link, SpanKind

    came_from = _traceparents(request)
    with tracer.start_as_current_span(
        f"{request.handler} {request.job}",
        context=_parent(request, came_from),
        kind=SpanKind.CONSUMER,
        attributes=_attributes(request),
        links=[Link(_context_of(each)) for each in came_from if is_sampled(each)],
    ) as span:
        yield lambda outcome: _note(span, outcome)


def _traceparents(request: RunRequest) -> list[str]:
    """Of the run's events, each once; the first ones of many."""
    found: list[str | None] = request.detail.get("traceparents", [])
    if request.job_type in _ONE_EVENT:
        # Those behind the first are of the runs that follow in the same activity.
        found = found[:1]
    found = [*found, *(event.get("traceparent") for event in request.detail.get("events", []))]
    return list(dict.fromkeys(filter(None, found)))[:MOST_LINKS]


def _parent(request: RunRequest, came_from: list[str]) -> "Context | None":
    """None: the span that the activity runs in, such as that of Temporal's own interceptor.

    Without one, the run of a single event goes on with the event's trace, and that of many begins
    one of its own. Where no trace of theirs is kept, it is asked to keep none either.
    """
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        NonRecordingSpan,
        get_current_span,
        set_span_in_context,
    )

    if _is_under_way(get_current_span()):
        return None
    goes_on = request.job_type in _ONE_EVENT or not any(map(is_sampled, came_from))
    if not came_from or not goes_on:
        return Context()
    return set_span_in_context(NonRecordingSpan(_context_of(came_from[0])), Context())


def _is_under_way(span: "Span") -> bool:
    """A worker that was started within a span hands it to its activities, long after its end."""
    context = span.get_span_context()
    ended = context.trace_flags.sampled and not context.is_remote and not span.is_recording()
    return context.is_valid and not ended


def _context_of(traceparent: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace, span, flags = traceparent.split("-")
    return SpanContext(
        int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _attributes(request: RunRequest) -> Attributes:
    told = attributes("process", request.handler, request.job, request.instance_id)
    told["durable_jobs.run"] = request.run_count
    told["durable_jobs.attempt"] = request.attempt
    if request.job_type == "debounce":
        count = len(request.detail["events"]) + request.detail["folded"]
        told["messaging.batch.message_count"] = count
    return told


def _note(span: "Span", outcome: RunResult | BaseException) -> None:
    word = _word(outcome)
    span.set_attribute("durable_jobs.outcome", word)
    if word != "failed" or isinstance(outcome, RunResult):
        return
    from opentelemetry.trace import StatusCode

    # Not by `record_exception`: what it shows may quote the event.
    kind, message = type_of(outcome), message_of(outcome)
    told = {"type": kind, "message": message, "stacktrace": stack_of(outcome)}
    span.add_event("exception", {f"exception.{name}": text for name, text in told.items()})
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, message)


def _word(outcome: RunResult | BaseException) -> str:
    if isinstance(outcome, RunResult):
        return "succeeded" if outcome.ran else "rejected"
    if was_stopped(outcome):
        return "cut_off"
    if isinstance(outcome, Snooze):
        return "snoozed"
    return "retry_after" if isinstance(outcome, RetryAfter) else "failed"
