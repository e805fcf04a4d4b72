"""The courier with a collector that is well: sharing requests, order, bounds, closing."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from durable_jobs.tracking import HttpSink, MemorySink, Tracking
from durable_jobs.tracking.courier import Courier, Pace, Verdict
from durable_jobs.tracking.sinks import Accepted, SendResult
from durable_jobs.tracking.wire import WireEvent
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.conftest import MakeCourier
from tests.tracking.helpers import FAST, SOON, event, events, ids_of, settled, until

DELIVERED = Verdict("delivered")


async def test_events_are_delivered_and_their_verdicts_known(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, batch = courier_to(), events(3)
    courier.submit(batch)
    assert courier.verdicts(ids_of(batch)) == {}
    verdicts = await courier.settle(ids_of(batch), SOON)
    assert verdicts == dict.fromkeys(ids_of(batch), DELIVERED)
    assert courier.verdicts(ids_of(batch)) == verdicts
    assert collector.accepted == batch
    assert courier.counters.delivered == courier.counters.submitted == 3


async def test_flushes_at_about_the_same_time_share_a_request(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to()

    async def flush(number: int) -> None:
        item = event(1, f"run-{number}")
        courier.submit([item])
        assert await courier.settle([item["eventId"]], SOON)

    await asyncio.gather(*(flush(number) for number in range(50)))
    assert len(collector.accepted) == 50
    assert len(collector.requests) <= 2


async def test_requests_that_are_not_full_leave_some_time_apart(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to(pace=replace(FAST, linger=0.15))
    began = time.monotonic()
    for number in range(40):
        courier.submit([event(1, f"run-{number}")])
        await asyncio.sleep(0.01)
    await until(lambda: len(collector.accepted) == 40)
    # How many there were, not how far apart they arrived: a busy machine delays single ones.
    took = collector.requests[-1].at - began
    assert 3 <= len(collector.requests) <= 1 + took / 0.14


async def test_a_full_request_waits_for_no_more(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to(pace=replace(FAST, linger=60), batch_size=10)
    batch = [event(1, f"run-{number}") for number in range(31)]
    courier.submit(batch[:1])
    await until(lambda: collector.requests)
    courier.submit(batch[1:30])
    await until(lambda: len(collector.accepted) == 21)
    courier.submit(batch[30:])
    await until(lambda: len(collector.accepted) == 31)


async def test_an_event_submitted_twice_is_sent_once(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, batch = courier_to(), events(2)
    courier.submit(batch)
    courier.submit(batch)
    await courier.settle(ids_of(batch), SOON)
    courier.submit(batch)
    await courier.settle(ids_of(batch), SOON)
    assert collector.ids == ids_of(batch)
    assert courier.counters.submitted == 2


async def test_a_request_holds_at_most_batch_size_events_oldest_first(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to(batch_size=10)
    batch = [
        event(n, f"run-{n % 30}", timestamp=f"2026-01-01T00:00:00.{n:03}Z") for n in range(100)
    ]
    courier.submit(list(reversed(batch)))
    await settled(courier, ids_of(batch))
    assert max(len(request.events) for request in collector.requests) == 10
    assert len(collector.requests) <= 15
    for request in collector.requests:
        times = [item["timestamp"] for item in request.events]
        assert times == sorted(times)


async def test_a_request_keeps_under_a_megabyte(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to()
    batch = [event(n, input="ä" * 100_000) for n in range(1, 13)]
    courier.submit(batch)
    await settled(courier, ids_of(batch))
    assert collector.ids == ids_of(batch)
    assert max(len(request.body) for request in collector.requests) < 1_000_000
    assert len(collector.requests) == 3


async def test_what_no_request_can_hold_is_rejected_and_holds_up_nothing(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to()
    huge, odd, fine = event(1, input="x" * 1_000_000), event(2, input=float("nan")), event(3)
    courier.submit([huge, odd, {"type": "no id"}, fine])
    verdicts = await courier.settle(ids_of([huge, odd, fine]), SOON)
    assert [verdict.outcome for verdict in verdicts.values()] == [
        "rejected",
        "rejected",
        "delivered",
    ]
    assert "bytes" in (verdicts[huge["eventId"]].reason or "")
    assert collector.ids == [fine["eventId"]]


async def test_events_of_one_execution_arrive_in_order_while_others_go_in_parallel(
    collector: Collector, courier_to: MakeCourier
) -> None:
    in_flight: dict[str, int] = defaultdict(int)

    async def answer(request: Request) -> Answer:
        lanes = {item["executionId"] for item in request.events}
        for lane in lanes:
            in_flight[lane] += 1
            assert in_flight[lane] == 1
        await asyncio.sleep(0.003)
        for lane in lanes:
            in_flight[lane] -= 1
        # A failure now and then must not let a later event overtake.
        return Answer(500 if len(collector.requests) % 5 == 0 else 200)

    collector.behaviour = answer
    courier = courier_to(batch_size=7)
    lanes = [events(30, f"run-{number}") for number in range(8)]
    for start in range(0, 30, 3):
        for lane in lanes:
            courier.submit(lane[start : start + 3])
        await asyncio.sleep(0.002)
    everything = [item for lane in lanes for item in lane]
    await settled(courier, ids_of(everything))
    for lane in lanes:
        run = lane[0]["executionId"]
        arrived = [item for item in collector.accepted if item["executionId"] == run]
        assert [item["sequence"] for item in arrived] == list(range(1, 31))
    assert 1 < collector.most_under_way <= 4


async def test_a_late_earlier_event_of_an_execution_goes_first(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, batch = courier_to(), events(4)
    courier.submit(batch[2:])
    courier.submit(batch[:2])
    await courier.settle(ids_of(batch), SOON)
    assert collector.ids == ids_of(batch)


async def test_too_many_pending_events_are_left_to_be_submitted_again(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, batch = courier_to(pace=replace(FAST, max_pending=5)), events(8)
    courier.submit(batch)
    assert courier.counters.overflowed == 3
    await settled(courier, ids_of(batch)[:5])
    assert list(courier.verdicts(ids_of(batch))) == ids_of(batch)[:5]
    courier.submit(batch)
    assert len(await settled(courier, ids_of(batch))) == 8
    assert collector.ids == ids_of(batch)


async def test_pending_bytes_are_bounded_too(courier_to: MakeCourier) -> None:
    courier = courier_to(pace=replace(FAST, max_pending_bytes=2_000))
    courier.submit(events(20))
    assert 0 < courier.counters.submitted < 10
    assert courier.counters.submitted + courier.counters.overflowed == 20


async def test_old_verdicts_are_forgotten_and_such_an_event_is_sent_again(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, batch = courier_to(pace=replace(FAST, max_verdicts=2)), events(3)
    courier.submit(batch)
    await until(lambda: courier.counters.delivered == 3)
    assert set(courier.verdicts(ids_of(batch))) == set(ids_of(batch)[1:])
    courier.submit(batch)
    await until(lambda: courier.counters.delivered == 4)
    assert collector.ids == [*ids_of(batch), batch[0]["eventId"]]


async def test_settle_does_not_wait_for_events_that_are_not_in_hand(
    courier_to: MakeCourier,
) -> None:
    assert await courier_to().settle(["unknown"], SOON) == {}


async def test_a_cancelled_settle_leaves_the_request_alone(
    collector: Collector, courier_to: MakeCourier
) -> None:
    gate = asyncio.Event()

    async def wait(_: Request) -> Answer:
        await gate.wait()
        return Answer()

    collector.behaviour = wait
    courier, item = courier_to(), event(1)
    courier.submit([item])
    waiting = asyncio.create_task(courier.settle([item["eventId"]], SOON))
    await until(lambda: collector.under_way)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.set()
    assert await settled(courier, [item["eventId"]]) == {item["eventId"]: DELIVERED}
    assert len(collector.requests) == 1


async def test_closing_sends_what_waits_at_once(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, batch = courier_to(pace=replace(FAST, linger=60)), events(5)
    courier.submit(batch)
    await courier.close(SOON)
    assert collector.ids == ids_of(batch)
    assert set(courier.verdicts(ids_of(batch))) == set(ids_of(batch))


async def test_closing_does_not_wait_for_a_dead_collector(
    collector: Collector, courier_to: MakeCourier
) -> None:
    await collector.stop()
    courier, item = courier_to(pace=Pace(first_wait=60)), event(1)
    courier.submit([item])
    await until(lambda: courier.trouble)
    async with asyncio.timeout(20):
        await courier.close(timedelta(seconds=60))


async def test_closing_gives_a_hanging_request_its_grace_only_and_lets_waiters_go(
    collector: Collector, courier_to: MakeCourier
) -> None:
    async def hang(_: Request) -> Answer:
        await asyncio.Event().wait()
        return Answer()

    collector.behaviour = hang
    courier, item = courier_to(), event(1)
    courier.submit([item])
    waiting = asyncio.create_task(courier.settle([item["eventId"]], timedelta(minutes=1)))
    await until(lambda: collector.under_way)
    async with asyncio.timeout(20):
        await courier.close(timedelta(seconds=0.05))
        assert await waiting == {}
    assert courier.verdicts([item["eventId"]]) == {}


async def test_a_closed_courier_opens_again(collector: Collector, courier_to: MakeCourier) -> None:
    courier, batch = courier_to(), events(2)
    await courier.close()
    for item in batch:
        courier.submit([item])
        await settled(courier, [item["eventId"]])
        await courier.close()
    assert collector.ids == ids_of(batch)


async def test_nothing_runs_while_nothing_is_in_hand(courier_to: MakeCourier) -> None:
    before, courier = asyncio.all_tasks(), courier_to(sink=MemorySink())
    courier.submit([item := event(1)])
    await settled(courier, [item["eventId"]])
    await until(lambda: asyncio.all_tasks() <= before)


def test_it_can_be_made_and_fed_outside_an_event_loop_and_used_in_several() -> None:
    sink = MemorySink()
    courier, batch = Courier(Tracking(sink)), events(3)
    courier.submit(batch[:1])

    async def use(item: dict[str, Any]) -> None:
        courier.submit([item])
        await settled(courier, [item["eventId"]])

    asyncio.run(use(batch[0]))
    asyncio.run(use(batch[1]))
    asyncio.run(use(batch[2]))
    assert sink.events == batch


def test_a_loop_that_ends_during_a_request_leaves_its_events_for_the_next() -> None:
    class Stuck(MemorySink):
        stuck = True

        async def send(self, events: Sequence[WireEvent]) -> SendResult:
            if self.stuck:
                await asyncio.Event().wait()
            return await super().send(events)

    sink, item = Stuck(), event(1)
    courier = Courier(Tracking(sink))

    async def use() -> dict[str, Verdict]:
        courier.submit([item])
        return await courier.settle([item["eventId"]], timedelta(seconds=0.05))

    assert asyncio.run(use()) == {}
    sink.stuck = False
    assert asyncio.run(use()) == {item["eventId"]: DELIVERED}


async def test_events_go_as_they_are_to_a_sink_of_the_users_own(
    courier_to: MakeCourier, caplog: pytest.LogCaptureFixture
) -> None:
    class Panic(BaseException):
        """As code in Rust raises it."""

    class Flaky:
        """Raises, then answers nonsense, then takes the batch; fails to close."""

        def __init__(self) -> None:
            self.calls = 0
            self.taken: list[WireEvent] = []

        async def send(self, events: Sequence[WireEvent]) -> SendResult:
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("quotes an event")
            if self.calls == 2:
                return None  # pyright: ignore[reportReturnType]
            if self.calls == 3:
                raise Panic
            self.taken += events
            return Accepted()

        async def close(self) -> None:
            raise RuntimeError("cannot close")

    sink = Flaky()
    courier, item = courier_to(sink=sink), event(1)
    with caplog.at_level(logging.INFO):
        courier.submit([item])
        assert await settled(courier, [item["eventId"]]) == {item["eventId"]: DELIVERED}
    assert sink.taken == [item]
    assert sink.calls == 4
    assert "quotes" not in caplog.text
    await courier.close()


async def test_ten_thousand_events_take_little_more_than_a_hundred_requests(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier = courier_to()
    batch = [item for number in range(500) for item in events(20, f"run-{number}")]
    courier.submit(batch)
    verdicts = await settled(courier, ids_of(batch))
    assert len(verdicts) == len(collector.accepted) == 10_000
    assert 100 <= courier.counters.requests < 120


def test_the_sink_says_how_much_it_takes_at_once() -> None:
    assert HttpSink("http://localhost/", batch_size=7).batch_size == 7
