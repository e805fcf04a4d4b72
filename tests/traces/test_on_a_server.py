"""Traces over a real server: each job type, other clients, and Temporal's own spans beside."""

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from temporalio.client import Client
from temporalio.contrib.opentelemetry import TracingInterceptor

from durable_jobs import SyncJobClient
from durable_jobs.embedded import EmbeddedServer
from tests.support.jobs import new_key, result_of, running_worker, until_settled
from tests.traces.jobs import Deliver, Digest, Plain, Poll, Thread
from tests.traces.spans import (
    Spans,
    id_of,
    links_of,
    parent_of,
    trace_of,
)
from tests.traces.texts import TRACEPARENT

JOBS = (Digest(), Thread(), Plain(), Deliver(), Poll())
TRACE, SPAN = (int(part, 16) for part in TRACEPARENT.split("-")[1:3])


async def test_a_flush_links_the_calls_that_shared_a_request(
    client: Client, queue: str, spans: Spans
) -> None:
    async with running_worker(client, queue, *JOBS) as jobs:
        window = jobs.debounce(Digest, new_key())
        await asyncio.gather(*(window.add(number) for number in range(20)))
        await window.add_confirmed(20)
        [flush] = await spans.until("execute digest")
    adds = spans.named("add digest")
    assert len(adds) == 21
    assert sorted(links_of(flush)) == sorted(id_of(add) for add in adds)
    assert trace_of(flush) not in {trace_of(add) for add in adds}


@pytest.mark.parametrize("verb", ["send", "ask"])
async def test_a_task_goes_on_with_the_trace_of_its_event(
    verb: str, client: Client, queue: str, spans: Spans
) -> None:
    async with running_worker(client, queue, *JOBS) as jobs:
        await getattr(jobs.task(Thread, new_key()), verb)("once")
        runs = await spans.until("on_event thread", 2)
        [call] = await spans.until(f"{verb} thread")
    assert [parent_of(run) for run in runs] == [id_of(call)] * 2
    assert [links_of(run) for run in runs] == [[id_of(call)]] * 2
    assert {trace_of(run) for run in runs} == {trace_of(call)}


async def test_a_pool_goes_on_with_the_trace_of_each_event(
    client: Client, queue: str, spans: Spans
) -> None:
    async with running_worker(client, queue, *JOBS) as jobs:
        pool = jobs.worker_pool(Deliver)
        await pool.enqueue(1)
        await pool.enqueue_many([2, 3])
        runs = await spans.until("execute deliver", 3)
        one, many = map(id_of, spans.named("enqueue deliver"))
        await pool.terminate()
    assert [parent_of(run) for run in runs] == [one, many, many]


async def test_the_first_run_of_a_continuous_instance_links_its_start(
    client: Client, queue: str, spans: Spans
) -> None:
    async with running_worker(client, queue, *JOBS) as jobs:
        poll = jobs.continuous(Poll, new_key())
        await poll.start()
        first, second = await spans.until("execute poll", 2)
    assert links_of(first) == [id_of(spans.one("start poll"))]
    assert links_of(second) == []


async def test_blocking_calls_belong_to_the_trace_of_their_caller(
    client: Client, queue: str, spans: Spans
) -> None:
    def drive() -> None:
        jobs = SyncJobClient(client, task_queue=queue)
        with trace.get_tracer("the user's").start_as_current_span("request"):
            jobs.task(Plain, new_key()).ask("hello")

    async with running_worker(client, queue, *JOBS):
        await asyncio.to_thread(drive)
    request, call, run = map(spans.one, ("request", "ask plain", "on_event plain"))
    assert (parent_of(call), parent_of(run)) == (id_of(request), id_of(call))
    assert parent_of(spans.one("its own work")) == id_of(run)


async def test_other_clients_send_the_traceparent_beside_an_event(
    client: Client, queue: str, spans: Spans
) -> None:
    key = new_key()
    beside = {"traceparent": TRACEPARENT}
    async with running_worker(client, queue, *JOBS) as jobs:
        start: dict[str, Any] = {"id": f"task:thread:{key}", "task_queue": queue}
        thread = await client.start_workflow(
            "TaskJob",
            {"job": "thread", "key": key},
            start_signal="send",
            start_signal_args=["a", beside],
            **start,
        )
        await thread.signal("send_batch", {"events": [{"data": "b", **beside}]})
        assert await thread.execute_update("ask", args=["c", beside]) == "C"
        await thread.signal("send_batch", {"events": [{"data": "d", "traceparent": "none"}]})
        await spans.until("on_event thread", 4)
        status = await until_settled(jobs.task(Thread, key))
        poll = await client.start_workflow(
            "ContinuousJob",
            {"job": "poll", "key": key, **beside},
            id=f"continuous:poll:{key}",
            task_queue=queue,
        )
        await poll.result()
    *traced, untraced = spans.named("on_event thread")
    assert [(trace_of(run), parent_of(run)) for run in traced] == [(TRACE, SPAN)] * 3
    assert parent_of(untraced) is None
    assert status.rejected_events == 0
    assert links_of(spans.named("execute poll")[0]) == [SPAN]


async def test_the_spans_of_temporal_itself_stand_around_and_none_is_doubled(
    server: EmbeddedServer, queue: str, spans: Spans
) -> None:
    client = await Client.connect(server.target, interceptors=[TracingInterceptor()])
    async with running_worker(client, queue, *JOBS) as jobs:
        window = jobs.debounce(Digest, new_key())
        await window.add(1)
        await result_of(client, window.instance_id)
        [flush] = await spans.until("execute digest")
    add = spans.one("add digest")
    assert parent_of(spans.one("SignalWithStartWorkflow:DebounceJob")) == id_of(add)
    assert parent_of(flush) == id_of(spans.one("RunActivity:digest.execute"))
    assert links_of(flush) == [id_of(add)]


async def test_without_a_tracer_nothing_is_sent_of_traces(client: Client, queue: str) -> None:
    async with running_worker(client, queue, *JOBS) as jobs:
        window = jobs.debounce(Digest, new_key())
        await window.add(1)
        await result_of(client, window.instance_id)
    history = await client.get_workflow_handle(window.instance_id).fetch_history()
    signals = [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert signals == ["add"]
    assert b"execute" in b"".join(event.SerializeToString() for event in history.events)
    assert not [event for event in history.events if b"traceparent" in event.SerializeToString()]
