"""`settle` never waits for a collector that is known to be slow or down."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

from durable_jobs.tracking.courier import Courier, Pace
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.conftest import MakeCourier
from tests.tracking.helpers import FAST, event, until

LIMIT = timedelta(seconds=5)


async def flush(courier: Courier, number: int, within: timedelta = LIMIT) -> float:
    """Submit one event of its own execution; gives how long `settle` took."""
    item = event(1, f"run-{number}")
    courier.submit([item])
    started = time.monotonic()
    await courier.settle([item["eventId"]], within)
    return time.monotonic() - started


async def test_the_limit_is_kept(collector: Collector, courier_to: MakeCourier) -> None:
    gate = asyncio.Event()

    async def hang(_: Request) -> Answer:
        await gate.wait()
        return Answer()

    collector.behaviour = hang
    courier = courier_to()
    assert 0.015 <= await flush(courier, 1, timedelta(seconds=0.02)) < 4
    gate.set()


async def test_a_first_failure_lets_those_go_who_wait(
    collector: Collector, courier_to: MakeCourier
) -> None:
    collector.behaviour = lambda _: Answer(500)
    courier = courier_to(pace=Pace(first_wait=60))
    others = [asyncio.create_task(flush(courier, number)) for number in (1, 2)]
    assert await flush(courier, 3) < 4
    assert max(await asyncio.gather(*others)) < 4
    assert courier.circuit_open
    assert await flush(courier, 4) < 4


async def test_after_two_slow_requests_nobody_waits_until_one_is_quick_again(
    collector: Collector, courier_to: MakeCourier
) -> None:
    delay = 0.6

    async def slow(_: Request) -> Answer:
        await asyncio.sleep(delay)
        return Answer()

    courier = courier_to()
    await flush(courier, -1)
    await flush(courier, 0)
    collector.behaviour = slow
    assert await flush(courier, 1) >= 0.6
    assert await flush(courier, 2) >= 0.6
    assert await flush(courier, 3) < 0.5
    delay = 0.0
    await flush(courier, 4)
    await until(lambda: not courier.circuit_open)
    assert len(collector.accepted) == 6
    await flush(courier, 5)
    assert len(collector.accepted) == 7


async def test_a_request_that_hangs_counts_as_slow_before_it_ends(
    collector: Collector, courier_to: MakeCourier
) -> None:
    gate = asyncio.Event()

    async def hang(_: Request) -> Answer:
        await gate.wait()
        return Answer()

    collector.behaviour = hang
    courier = courier_to()
    await flush(courier, 1, timedelta(seconds=0.02))
    await until(lambda: courier.circuit_open)
    assert await flush(courier, 2) < 4
    gate.set()


async def test_events_are_sent_all_the_same_when_nobody_waits(
    collector: Collector, courier_to: MakeCourier
) -> None:
    collector.script = [Answer(500)]
    courier = courier_to()
    await flush(courier, 1)
    await flush(courier, 2)
    await until(lambda: len(collector.accepted) == 2)


async def test_a_dead_collector_costs_settle_nothing(
    collector: Collector, courier_to: MakeCourier
) -> None:
    await collector.stop()
    courier = courier_to(pace=replace(FAST, first_wait=60, longest_wait=60))
    await flush(courier, 0)
    times = [await flush(courier, number) for number in range(1, 50)]
    assert max(times) < 4
