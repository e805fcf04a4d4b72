"""OpenTelemetry's part in this library, where the user has set it up; else it costs a look-up.

Nothing here imports OpenTelemetry first: whoever sets a tracer provider has imported it.
"""

import sys
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

SYSTEM = "durable_jobs"
"""The `messaging.system` of all spans, and what the names of our own attributes begin with."""

Attributes = dict[str, str | int]

_UNTRACED = nullcontext(None)


def tracer() -> "Tracer | None":
    """Makes the spans of this library; None where no tracer provider was set."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else _tracer_of(provider)


@lru_cache(maxsize=8)
def _tracer_of(provider: "TracerProvider") -> "Tracer":
    return provider.get_tracer("durable-jobs", version("durable-jobs"))


def attributes(kind: str, operation: str, job: str, instance_id: str | None) -> Attributes:
    """What all spans say: an operation of a kind (`send`, `process`) on a job or an instance.

    They keep to OpenTelemetry's semantic conventions for messaging.
    """
    found: Attributes = {
        "messaging.system": SYSTEM,
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
        "messaging.destination.name": job,
        "durable_jobs.job": job,
    }
    if instance_id is not None:
        found["durable_jobs.key"] = instance_id.split(":", 2)[2]
        found["durable_jobs.instance_id"] = instance_id
    return found


def sending(
    verb: str, job: str, instance_id: str | None, event_ids: Sequence[str | None]
) -> AbstractContextManager[str | None]:
    """A producer span around a call that brings events; gives the traceparent that goes with each.

    `instance_id` is None where they go to several instances. Without events, the call starts one.
    """
    found = tracer()
    if found is None:
        return _UNTRACED
    told = attributes("send", verb, job, instance_id)
    if len(event_ids) > 1:
        told["messaging.batch.message_count"] = len(event_ids)
    elif event_ids and event_ids[0] is not None:
        told["messaging.message.id"] = event_ids[0]
    return _sending(found, f"{verb} {job}", told)


@contextmanager
def _sending(tracer: "Tracer", name: str, told: Attributes) -> Generator[str | None]:
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=told) as span:
        context = span.get_span_context()
        try:
            yield (
                f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
                if context.is_valid
                else None
            )
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            raise
