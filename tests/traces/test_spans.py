"""The spans of calls and of attempts, in memory."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

from durable_jobs import InvalidEvent, JobFailed
from durable_jobs.testing import Simulation
from durable_jobs.traceparent import MOST_LINKS
from tests.traces.jobs import SECOND, Deliver, Digest, Plain, Poll, Thread
from tests.traces.spans import Spans, id_of, links_of, parent_of, trace_of

UNSAMPLED = NonRecordingSpan(SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(0)))


def test_an_event_of_a_task_and_its_run_are_one_trace(spans: Spans) -> None:
    Simulation(Thread()).task(Thread, "k:1").send("hello", id="delivery-1")
    sent, run = spans.one("send thread"), spans.one("on_event thread")
    assert (sent.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert (parent_of(sent), parent_of(run)) == (None, id_of(sent))
    assert (trace_of(run), links_of(run)) == (trace_of(sent), [id_of(sent)])
    common = {
        "messaging.system": "durable_jobs",
        "messaging.destination.name": "thread",
        "durable_jobs.job": "thread",
        "durable_jobs.key": "k:1",
        "durable_jobs.instance_id": "task:thread:k:1",
    }
    assert sent.attributes == {
        **common,
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.message.id": "delivery-1",
    }
    assert run.attributes == {
        **common,
        "messaging.operation.type": "process",
        "messaging.operation.name": "on_event",
        "durable_jobs.run": 1,
        "durable_jobs.attempt": 1,
        "durable_jobs.outcome": "succeeded",
    }


def test_a_flush_is_a_trace_of_its_own_that_links_each_call(spans: Spans) -> None:
    sim = Simulation(Digest())
    window = sim.debounce(Digest, "k")
    window.add(1)
    window.add_many([2, 3, 4])
    window.add_confirmed(5, id="five")
    sim.advance(SECOND)
    adds, flush = spans.named("add digest"), spans.one("execute digest")
    assert [add.attributes and add.attributes.get("messaging.message.id") for add in adds] == [
        None,
        None,
        "five",
    ]
    counts = "messaging.batch.message_count"
    assert [span.attributes and span.attributes.get(counts) for span in (*adds, flush)] == [
        None,
        3,
        None,
        5,
    ]
    assert links_of(flush) == [id_of(add) for add in adds]
    assert parent_of(flush) is None
    assert trace_of(flush) not in [trace_of(add) for add in adds]


def test_a_flush_links_the_first_calls_of_very_many(spans: Spans) -> None:
    sim = Simulation(Digest())
    window = sim.debounce(Digest, "k")
    for _ in range(MOST_LINKS + 50):
        window.add(1)
    sim.advance(SECOND)
    first = spans.named("add digest")[:MOST_LINKS]
    assert links_of(spans.one("execute digest")) == [id_of(add) for add in first]


def test_each_event_of_a_burst_has_a_span_of_its_own(spans: Spans) -> None:
    sim = Simulation(Deliver())
    pool = sim.worker_pool(Deliver)
    pool.pause()
    pool.enqueue(1)
    pool.enqueue(2, id="two")
    pool.enqueue_many([3, 4])
    pool.resume()
    sim.advance(SECOND)
    one, two, many = map(id_of, spans.named("enqueue deliver"))
    runs = spans.named("execute deliver")
    assert [parent_of(run) for run in runs] == [one, two, many, many]
    assert [links_of(run) for run in runs] == [[one], [two], [many], [many]]


def test_the_first_run_links_the_start_and_later_ones_nothing(spans: Spans) -> None:
    sim = Simulation(Poll())
    sim.continuous(Poll, "k").start()
    sim.advance(5 * SECOND)
    start, (first, second) = spans.one("start poll"), spans.named("execute poll")
    assert (links_of(first), links_of(second)) == ([id_of(start)], [])
    assert len({trace_of(start), trace_of(first), trace_of(second)}) == 3


def test_a_call_goes_on_with_the_trace_of_its_caller(spans: Spans) -> None:
    sim = Simulation([Digest(), Thread()])
    with trace.get_tracer("the user's").start_as_current_span("request"):
        sim.debounce(Digest, "k").add(99)
    sim.advance(SECOND)
    assert parent_of(spans.one("add digest")) == id_of(spans.one("request"))
    # So does a call of a handler.
    assert parent_of(spans.one("send thread")) == id_of(spans.one("execute digest"))


@pytest.mark.parametrize("job", [Thread, Plain])
def test_what_a_handler_does_is_within_the_span_of_its_attempt(job: Any, spans: Spans) -> None:
    Simulation(job()).task(job, "k").send("hello")
    attempt = spans.one(f"on_event {job.name}")
    assert parent_of(spans.one("its own work")) == id_of(attempt)


def test_an_attempt_is_not_within_a_span_in_which_its_worker_was_started(spans: Spans) -> None:
    with trace.get_tracer("the user's").start_as_current_span("start up"):
        sim = Simulation(Digest())
    sim.debounce(Digest, "k").add(1)
    sim.advance(SECOND)
    assert parent_of(spans.one("execute digest")) is None


# -- failures -------------------------------------------------------------------------------


def test_a_failed_attempt_says_why_and_the_next_one_belongs_to_the_same_trace(
    spans: Spans,
) -> None:
    sim = Simulation(Thread())
    assert sim.task(Thread, "k").ask("once") == "ONCE"
    first, second = spans.named("on_event thread")
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description == "not yet"
    assert first.attributes is not None
    assert first.attributes["error.type"] == "ValueError"
    assert first.attributes["durable_jobs.outcome"] == "failed"
    [event] = first.events
    assert event.attributes is not None
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.message"] == "not yet"
    assert 'raise ValueError("not yet")' in str(event.attributes["exception.stacktrace"])
    assert second.status.status_code is StatusCode.UNSET
    assert second.attributes is not None
    assert second.attributes["durable_jobs.attempt"] == 2
    assert parent_of(first) == parent_of(second) == id_of(spans.one("ask thread"))


@pytest.mark.parametrize(("event", "word"), [("later", "retry_after"), ("snooze", "snoozed")])
def test_an_attempt_that_asks_for_another_is_no_error(event: str, word: str, spans: Spans) -> None:
    sim = Simulation(Thread())
    sim.task(Thread, "k").send(event)
    sim.advance(2 * SECOND)
    first, second = spans.named("on_event thread")
    assert (first.status.status_code, first.events) == (StatusCode.UNSET, ())
    assert first.attributes is not None
    assert second.attributes is not None
    assert first.attributes["durable_jobs.outcome"] == word
    assert second.attributes["durable_jobs.outcome"] == "succeeded"


def test_a_call_that_fails_is_an_error_and_one_that_sends_nothing_has_no_span(
    spans: Spans,
) -> None:
    thread = Simulation(Thread()).task(Thread, "k")
    with pytest.raises(JobFailed):
        thread.ask("never")
    ask = spans.one("ask thread")
    assert ask.status.status_code is StatusCode.ERROR
    assert ask.attributes is not None
    assert ask.attributes["error.type"] == "JobFailed"
    nothing: Any = object()
    with pytest.raises(InvalidEvent):
        thread.send(nothing)
    assert spans.named("send thread") == []


def test_what_a_span_says_of_an_error_does_not_quote_input(spans: Spans) -> None:
    sim = Simulation(Thread())
    sim.task(Thread, "k").send("card 4111 1111 1111 1111")
    sim.advance(10 * SECOND)
    failed = spans.named("on_event thread")
    assert failed[0].status.status_code is StatusCode.ERROR
    assert "number" in str(failed[0].status.description)
    assert not [span for span in failed if "4111" in span.to_json()]


# -- sampling -------------------------------------------------------------------------------


def test_where_the_caller_keeps_no_trace_none_is_kept_of_the_run(spans: Spans) -> None:
    sim = Simulation([Thread(), Digest()])
    with trace.use_span(UNSAMPLED):
        sim.task(Thread, "k").send("hello")
        sim.debounce(Digest, "k").add(1)
    sim.advance(SECOND)
    assert len(sim.runs) == 2
    assert spans.names() == []


def test_of_a_window_the_calls_are_linked_whose_trace_is_kept(spans: Spans) -> None:
    sim = Simulation(Digest())
    window = sim.debounce(Digest, "k")
    with trace.use_span(UNSAMPLED):
        window.add(1)
    window.add(2)
    sim.advance(SECOND)
    assert links_of(spans.one("execute digest")) == [id_of(spans.one("add digest"))]
