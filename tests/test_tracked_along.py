"""Tracking events that a handler's activity takes along."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousRun, Retry
from durable_jobs.embedded.ports import free_port
from durable_jobs.tracking import HttpSink, MemorySink, Sink, outbox
from tests.lives import tracked_worker
from tests.support import eventually
from tests.tracked_jobs import Basket, Beat

TICKS = 6


async def requests_of_a_life(client: Client, queue: str, sink: Sink) -> list[dict[str, Any]]:
    """What the activities of some quick ticks were given."""
    async with tracked_worker(client, queue, [Beat()], sink=sink) as worker:
        poll = worker.jobs.continuous(Beat, queue)
        await poll.start(Basket(total=TICKS))
        handle = worker.handle(poll.instance_id)
        await handle.result()
        history = await handle.fetch_history()
    given = [
        json.loads(event.activity_task_scheduled_event_attributes.input.payloads[0].data)
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    return [request for request in given if request.get("handler") == "execute"]


def whole(requests: list[dict[str, Any]]) -> Counter[str]:
    """How often each event was given as a whole."""
    return Counter(event["eventId"] for request in requests for event in request["outbox"])


@pytest.mark.parametrize("there", [True, False])
async def test_an_event_stands_in_history_once_until_its_worker_knows_what_became_of_it(
    client: Client, queue: str, there: bool
) -> None:
    sink = MemorySink() if there else HttpSink(f"http://127.0.0.1:{free_port()}")
    requests = await requests_of_a_life(client, queue, sink)
    assert set(whole(requests).values()) == {1}
    asked = {event_id for request in requests for event_id in request.get("asked", [])}
    assert asked
    assert asked <= set(whole(requests))
    if isinstance(sink, MemorySink):
        assert len({event["eventId"] for event in sink.events}) == TICKS + 2


async def test_an_event_without_a_verdict_for_long_is_given_again(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "GIVEN_AGAIN", timedelta(milliseconds=200))
    requests = await requests_of_a_life(client, queue, HttpSink(f"http://127.0.0.1:{free_port()}"))
    assert max(whole(requests).values()) > 1


class Failing(Beat):
    """Never succeeds."""

    name = "failing"
    retry = Retry(max_attempts=1)

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        raise ValueError("as always")


async def test_what_a_failing_run_took_along_is_settled_too(client: Client, queue: str) -> None:
    async with tracked_worker(client, queue, [Failing()]) as worker:
        poll = worker.jobs.continuous(Failing, queue)
        await poll.start()

        async def settled() -> bool:
            status = await poll.status()
            return status is not None and status.tracking.delivered > TICKS

        await eventually(settled)
        await poll.terminate()
