"""What tests ask of the spans that have ended."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support import eventually


class Spans(InMemorySpanExporter):
    """Keeps the spans that have ended."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See base class."""
        return super().export(spans)

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name, in the order in which they ended."""
        return [span for span in self.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        [span] = self.named(name)
        return span

    def names(self) -> list[str]:
        """The names of all."""
        return [span.name for span in self.get_finished_spans()]

    async def until(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Those of a name, once there are so many."""

        async def there() -> list[ReadableSpan]:
            found = self.named(name)
            return found if len(found) >= count else []

        found = await eventually(there)
        assert len(found) == count
        return found


def id_of(span: ReadableSpan) -> int:
    """A span's own id."""
    return span.get_span_context().span_id


def trace_of(span: ReadableSpan) -> int:
    """The id of the trace that a span belongs to."""
    return span.get_span_context().trace_id


def parent_of(span: ReadableSpan) -> int | None:
    """The id of a span's parent."""
    return span.parent.span_id if span.parent else None


def links_of(span: ReadableSpan) -> list[int]:
    """The ids of the spans that a span links."""
    return [link.context.span_id for link in span.links]
