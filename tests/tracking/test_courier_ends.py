"""How long the last events of an instance wait for company, and whether they count on an answer."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.tracking.courier import Courier
from durable_jobs.tracking.sinks import SendResult, TooLarge
from durable_jobs.tracking.wire import WireEvent
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.conftest import MakeCourier
from tests.tracking.helpers import FAST, SOON, events, ids_of, until


async def test_an_end_soon_after_a_request_waits_longer_for_company(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to(pace=replace(FAST, linger=0, busy=60, end=120))
    first, second, third = events(3)
    courier.submit([first])
    await courier.settle([first["eventId"]], None)
    courier.submit([second])
    short = timedelta(milliseconds=20)
    began = time.monotonic()
    assert await courier.settle([second["eventId"]], short, ending_since=began) == {}
    courier.submit([third])
    assert third["eventId"] in await courier.settle([third["eventId"]], None)
    assert [request.ids for request in collector.requests] == [
        [first["eventId"]],
        [second["eventId"], third["eventId"]],
    ]


async def test_an_end_that_has_waited_long_enough_waits_for_no_company(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, batch = courier_to(pace=replace(FAST, linger=0, busy=60, end=120)), events(2)
    for item, waited in zip(batch, (0, 120), strict=True):
        courier.submit([item])
        began = time.monotonic() - waited
        assert await courier.settle([item["eventId"]], SOON, ending_since=began)
    assert len(collector.requests) == 2


async def test_an_end_does_not_count_on_a_collector_whose_answers_take_too_long(
    collector: Collector, courier_to: MakeCourier
) -> None:
    answer_now = asyncio.Event()

    async def late(_: Request) -> Answer:
        await answer_now.wait()
        return Answer()

    courier = courier_to(pace=replace(FAST, slow=60))
    assert courier.prompt
    collector.behaviour = late
    items = iter(events(1_000))

    async def send(within: timedelta) -> None:
        item = next(items)
        courier.submit([item])
        await courier.settle([item["eventId"]], within)

    await send(timedelta(seconds=0.1))
    answer_now.set()
    await until(lambda: courier.counters.delivered)
    assert not courier.prompt
    while not courier.prompt:
        await send(SOON)


async def test_an_end_counts_on_a_prompt_collector_that_asks_for_small_requests() -> None:
    class OneAtATime(MemorySink):
        async def send(self, events: Sequence[WireEvent]) -> SendResult:
            await asyncio.sleep(0.03)
            return TooLarge("one at a time") if len(events) > 1 else await super().send(events)

    pace = replace(FAST, linger=0, end=0.2, slow=60, parallel=1)
    courier, batch = Courier(Tracking(OneAtATime()), pace=pace), events(32)
    courier.submit(batch)
    # Nearly a second of halves: each was answered at once when it was its turn.
    assert len(await courier.settle(ids_of(batch), None)) == len(batch)
    assert courier.prompt
    await courier.close()
