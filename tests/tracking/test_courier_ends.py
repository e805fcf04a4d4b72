"""How long the last events of an instance wait for company, and whether they count on an answer."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.tracking.courier import Courier, Verdict
from durable_jobs.tracking.sinks import SendResult, TooLarge
from durable_jobs.tracking.wire import WireEvent
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.conftest import MakeCourier
from tests.tracking.helpers import FAST, SOON, event, events, ids_of, until

LONG = timedelta(hours=1)
MANY = replace(FAST, linger=0, end=60, patience=60, busy=60, some_ends=2, enough=100)
"""The second end is load."""


class Counting(MemorySink):
    """Notes how many events came in each request."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """Note, then take."""
        self.counts.append(len(events))
        return await super().send(events)


async def end(courier: Courier, number: int, lived: timedelta) -> dict[str, Verdict]:
    item = event(1, f"run-{number}")
    courier.submit([item])
    async with asyncio.timeout(SOON.total_seconds()):
        return await courier.settle([item["eventId"]], SOON, lived=lived)


async def end_together(courier: Courier, numbers: range, lived: timedelta) -> None:
    verdicts = await asyncio.gather(*(end(courier, number, lived) for number in numbers))
    assert all(verdicts)


async def test_where_many_end_they_wait_until_enough_have_come_together(
    courier_to: MakeCourier,
) -> None:
    sink = Counting()
    courier = courier_to(sink=sink, pace=replace(MANY, enough=4))
    assert await end(courier, 1, LONG)
    await end_together(courier, range(2, 6), LONG)
    assert sink.counts == [1, 4]


async def test_where_few_end_none_waits(courier_to: MakeCourier) -> None:
    for pace in (replace(MANY, some_ends=3), replace(MANY, busy=0)):
        sink = Counting()
        courier = courier_to(sink=sink, pace=pace)
        for number in (1, 2):
            assert await end(courier, number, LONG)
        assert sink.counts == [1, 1]


async def test_the_end_of_a_short_life_waits_for_a_short_time(courier_to: MakeCourier) -> None:
    courier = courier_to(sink=Counting(), pace=MANY)
    for number in (1, 2):
        assert await end(courier, number, timedelta())


async def test_what_an_end_waited_for_company_is_not_lost_to_the_answer(
    courier_to: MakeCourier,
) -> None:
    courier = courier_to(sink=Counting(), pace=replace(MANY, end=0.6))
    item, other = events(2)
    courier.submit([item])
    await courier.settle([item["eventId"]], None, lived=LONG)
    courier.submit([other])
    began = time.monotonic()
    assert await courier.settle([other["eventId"]], timedelta(seconds=0.5), lived=LONG)
    assert time.monotonic() - began >= 0.6


async def test_an_end_does_not_count_on_a_collector_whose_answers_take_too_long(
    collector: Collector, courier_to: MakeCourier
) -> None:
    answer_now = asyncio.Event()

    async def late(_: Request) -> Answer:
        await answer_now.wait()
        return Answer()

    courier = courier_to()
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

    pace = replace(FAST, linger=0, slow=0.2, parallel=1)
    courier, batch = Courier(Tracking(OneAtATime()), pace=pace), events(32)
    courier.submit(batch)
    # Nearly a second of halves: each was answered at once when it was its turn.
    assert len(await courier.settle(ids_of(batch), None)) == len(batch)
    assert courier.prompt
    await courier.close()
