"""The courier with a collector that fails: retries, splitting, giving up."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from durable_jobs.tracking import HttpSink
from durable_jobs.tracking.breaker import Kind, Pace
from durable_jobs.tracking.ids import iso_ms
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.conftest import MakeCourier
from tests.tracking.helpers import FAST, event, events, ids_of, settled, until


def old(number: int, execution: str = "run-1") -> dict[str, object]:
    return event(number, execution, timestamp=iso_ms(datetime.now(UTC) - timedelta(hours=25)))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_failure_that_may_pass_is_retried_with_the_same_batch(
    collector: Collector, courier_to: MakeCourier, status: int
) -> None:
    collector.script = [Answer(status)] * 3
    courier, batch = courier_to(secret="whsec_c2VjcmV0"), events(3)
    courier.submit(batch)
    verdicts = await settled(courier, ids_of(batch))
    assert {verdict.outcome for verdict in verdicts.values()} == {"delivered"}
    assert [request.ids for request in collector.requests] == [ids_of(batch)] * 4
    assert len({request.headers["webhook-id"] for request in collector.requests}) == 1
    assert courier.counters.retried == 9
    assert courier.counters.requests == 4


async def test_a_time_out_and_a_closed_connection_are_retried(
    collector: Collector, courier_to: MakeCourier
) -> None:
    async def hang_once(_: Request) -> Answer:
        if len(collector.requests) == 2:
            await asyncio.Event().wait()
        return Answer()

    collector.script, collector.behaviour = [Answer(close=True)], hang_once
    courier, item = courier_to(timeout=timedelta(seconds=0.3)), event(1)
    courier.submit([item])
    await settled(courier, [item["eventId"]])
    # Where the machine is busy, a further request may have taken too long.
    assert len(collector.requests) >= 3


async def test_events_survive_an_outage_and_arrive_in_order_after_it(
    collector: Collector, courier_to: MakeCourier
) -> None:
    await collector.stop()
    courier, batch = courier_to(batch_size=10), events(100)
    for start in range(0, 100, 20):
        courier.submit(batch[start : start + 20])
        await asyncio.sleep(0.01)
    await until(lambda: courier.trouble)
    await collector.start()
    await settled(courier, ids_of(batch))
    assert collector.ids == ids_of(batch)
    assert courier.trouble is None


async def test_each_failure_in_a_row_counts_for_the_next_wait(
    collector: Collector, courier_to: MakeCourier
) -> None:
    waits: list[tuple[str, int]] = []

    class Noted(Pace):
        def wait(self, kind: Kind, failures: int) -> float:
            waits.append((kind, failures))
            return 0.01

    collector.behaviour = lambda _: Answer(500)
    courier = courier_to(pace=Noted())
    courier.submit([event(1)])
    await until(lambda: len(waits) >= 3)
    assert waits[:3] == [("unavailable", 1), ("unavailable", 2), ("unavailable", 3)]


async def test_the_wait_grows_with_full_jitter_up_to_its_cap() -> None:
    pace = Pace()
    for failures, most in ((1, 0.25), (2, 0.5), (5, 4.0), (9, 60.0), (5_000, 60.0)):
        waits = [pace.wait("unavailable", failures) for _ in range(300)]
        assert 0 <= min(waits) < most * 0.2
        assert most * 0.8 < max(waits) <= most
    assert 27 <= pace.wait("misconfigured", 1) <= 33
    assert 270 <= pace.wait("misconfigured", 50) <= 330


async def test_a_dead_collector_is_asked_with_one_request_at_a_time(
    collector: Collector, courier_to: MakeCourier
) -> None:
    async def fail(_: Request) -> Answer:
        await asyncio.sleep(0.005)
        return Answer(503)

    collector.behaviour = fail
    courier = courier_to(batch_size=5)
    courier.submit([event(1, f"run-{number}") for number in range(100)])
    await until(lambda: len(collector.requests) > 4 and collector.under_way == 0)
    collector.most_under_way = 0
    seen = len(collector.requests)
    await until(lambda: len(collector.requests) > seen + 10)
    assert collector.most_under_way == 1


async def test_retry_after_is_the_least_wait_for_all_events(
    collector: Collector, courier_to: MakeCourier
) -> None:
    collector.script = [Answer(429, {"retry-after": "0.3"})]
    courier, first, second = courier_to(), event(1, "run-1"), event(1, "run-2")
    courier.submit([first])
    await until(lambda: courier.trouble)
    courier.submit([second])
    await settled(courier, ids_of([first, second]))
    waits = [request.at - collector.requests[0].at for request in collector.requests[1:]]
    assert min(waits) >= 0.29


async def test_retry_after_is_capped(collector: Collector, courier_to: MakeCourier) -> None:
    collector.script = [Answer(503, {"retry-after": "86400"})]
    courier, item = courier_to(pace=replace(FAST, longest_retry_after=0.05)), event(1)
    courier.submit([item])
    await settled(courier, [item["eventId"]])
    assert collector.ids == [item["eventId"]]


async def test_413_halves_the_batch_until_it_fits(
    collector: Collector, courier_to: MakeCourier
) -> None:
    collector.behaviour = lambda r: Answer(413 if len(r.events) > 3 else 200)
    courier, batch = courier_to(), events(16)
    courier.submit(batch)
    await settled(courier, ids_of(batch))
    assert collector.ids == ids_of(batch)
    assert [len(request.events) for request in collector.requests[:3]] == [16, 8, 4]


async def test_an_event_too_large_alone_is_rejected(
    collector: Collector, courier_to: MakeCourier
) -> None:
    batch = events(4)
    bad = batch[2]["eventId"]
    collector.behaviour = lambda r: Answer(413 if bad in r.ids else 200)
    courier = courier_to()
    courier.submit(batch)
    verdicts = await settled(courier, ids_of(batch))
    assert verdicts[bad].outcome == "rejected"
    assert "413" in (verdicts[bad].reason or "")
    assert collector.ids == [item for item in ids_of(batch) if item != bad]


@pytest.mark.parametrize("status", [400, 409, 415, 422])
async def test_bad_events_are_found_by_bisection_and_rejected_while_others_pass(
    collector: Collector, courier_to: MakeCourier, status: int
) -> None:
    batch = events(64)
    bad = {batch[7]["eventId"], batch[40]["eventId"]}
    collector.behaviour = lambda r: Answer(status if bad & set(r.ids) else 200)
    courier = courier_to()
    courier.submit(batch)
    verdicts = await settled(courier, ids_of(batch))
    assert {one for one, verdict in verdicts.items() if verdict.outcome == "rejected"} == bad
    assert collector.ids == [item for item in ids_of(batch) if item not in bad]
    assert len(collector.requests) < 30
    assert courier.counters.rejected == 2
    assert courier.trouble is None


async def test_events_that_a_2xx_names_are_rejected_and_not_sent_again(
    collector: Collector, courier_to: MakeCourier
) -> None:
    batch = events(3)
    collector.script = [Answer(rejected=[batch[1]["eventId"], "of another batch"])]
    courier = courier_to()
    courier.submit(batch)
    verdicts = await settled(courier, ids_of(batch))
    outcomes = [verdicts[item].outcome for item in ids_of(batch)]
    assert outcomes == ["delivered", "rejected", "delivered"]
    assert "of another batch" not in courier.verdicts(["of another batch"])
    courier.submit(batch)
    await settled(courier, ids_of(batch))
    assert len(collector.requests) == 1


@pytest.mark.parametrize("status", [301, 401, 403, 404])
async def test_a_wrong_set_up_is_said_loudly_once_and_events_are_kept(
    collector: Collector,
    courier_to: MakeCourier,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    collector.behaviour = lambda _: Answer(status, {"location": "/elsewhere"})
    courier, batch = courier_to(), events(3)
    with caplog.at_level(logging.INFO, "durable_jobs"):
        courier.submit(batch)
        await until(lambda: len(collector.requests) >= 4)
        trouble = courier.trouble
        assert trouble is not None
        assert trouble.kind == "misconfigured"
        assert str(status) in trouble.message
        assert timedelta() <= trouble.next_try_in < timedelta(seconds=1)
        collector.behaviour = lambda _: Answer()
        await settled(courier, ids_of(batch))
    assert collector.ids == ids_of(batch)
    assert {request.path for request in collector.requests} == {"/events"}
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "INFO"]


async def test_a_wrong_set_up_is_retried_slowly(
    collector: Collector, courier_to: MakeCourier
) -> None:
    collector.behaviour = lambda _: Answer(404)
    courier = courier_to(pace=Pace())
    courier.submit([event(1)])
    await until(lambda: courier.trouble)
    trouble = courier.trouble
    assert trouble is not None
    assert timedelta(seconds=26) < trouble.next_try_in < timedelta(seconds=33)


async def test_an_event_that_is_too_old_when_it_fails_is_dropped_with_the_reason(
    collector: Collector, courier_to: MakeCourier, caplog: pytest.LogCaptureFixture
) -> None:
    collector.script = [Answer(500)]
    courier, late, young = courier_to(pace=replace(FAST, min_retry_time=0.0)), old(1), event(2)
    courier.submit([late, young])
    verdicts = await settled(courier, ids_of([late, young]))
    assert [verdict.outcome for verdict in verdicts.values()] == ["dropped", "delivered"]
    reason = verdicts[str(late["eventId"])].reason or ""
    assert "24 h" in reason
    assert "500" in reason
    assert collector.ids == [young["eventId"]]
    assert courier.counters.dropped == 1
    assert "1 tracking events were dropped" in caplog.text


async def test_an_event_that_comes_in_old_is_tried_again_all_the_same(
    collector: Collector, courier_to: MakeCourier
) -> None:
    collector.script = [Answer(503), Answer(500)]
    courier, late = courier_to(), old(1)
    courier.submit([late])
    await settled(courier, ids_of([late]))
    assert collector.ids == [late["eventId"]]
    assert courier.counters.dropped == 0


async def test_an_old_event_is_delivered_where_the_collector_takes_it(
    collector: Collector, courier_to: MakeCourier
) -> None:
    courier, late = courier_to(), old(1)
    courier.submit([late])
    await settled(courier, ids_of([late]))
    assert collector.ids == [late["eventId"]]


async def test_events_that_wait_behind_a_failing_batch_grow_too_old_as_well(
    collector: Collector, courier_to: MakeCourier
) -> None:
    await collector.stop()
    courier = courier_to(batch_size=1, give_up_after=timedelta(seconds=0.2))
    batch = events(4)
    courier.submit(batch)
    verdicts = await settled(courier, ids_of(batch))
    assert {verdict.outcome for verdict in verdicts.values()} == {"dropped"}
    assert courier.trouble is not None


async def test_an_event_that_makes_the_collector_fail_does_not_hold_up_others(
    collector: Collector, courier_to: MakeCourier
) -> None:
    poison = event(1, "poison")
    collector.behaviour = lambda r: Answer(500 if poison["eventId"] in r.ids else 200)
    courier = courier_to()
    company = [event(1, f"with-{number}") for number in range(30)]
    others = [event(1, f"after-{number}") for number in range(20)]
    courier.submit([*company[:15], poison, *company[15:]])
    await until(lambda: collector.requests)
    for item in others:
        courier.submit([item])
        await asyncio.sleep(0.005)
    await settled(courier, ids_of(others))
    await settled(courier, ids_of(company))
    assert poison["eventId"] not in courier.verdicts([poison["eventId"]])
    trouble = courier.trouble
    assert trouble is not None
    assert "500" in trouble.message


async def test_a_batch_alone_with_such_an_event_is_taken_apart_in_time(
    collector: Collector, courier_to: MakeCourier
) -> None:
    poison = event(1, "poison")
    collector.behaviour = lambda r: Answer(500 if poison["eventId"] in r.ids else 200)
    courier, company = courier_to(), [event(1, f"with-{number}") for number in range(9)]
    courier.submit([*company[:4], poison, *company[4:]])
    await settled(courier, ids_of(company))
    assert len(collector.accepted) == 9


async def test_who_shares_its_batch_does_not_wait_for_what_shares_its_execution(
    collector: Collector, courier_to: MakeCourier
) -> None:
    poison, behind = event(1, "poison"), event(2, "poison")
    collector.behaviour = lambda r: Answer(500 if poison["eventId"] in r.ids else 200)
    courier, company = courier_to(), [event(1, f"with-{number}") for number in range(8)]
    courier.submit([poison, *company[:4], behind, *company[4:]])
    later = event(2, "with-7")
    courier.submit([later])
    await settled(courier, ids_of([*company, later]))
    assert not courier.verdicts(ids_of([poison, behind]))


async def test_an_answer_whose_body_drips_counts_by_its_status_at_the_time_out(
    courier_to: MakeCourier,
) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(200):
            writer.write(b" ")
            await asyncio.sleep(0.01)
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sink = HttpSink(f"http://127.0.0.1:{port}/", timeout=timedelta(seconds=0.1))
        courier, sent = courier_to(sink=sink), event(1)
        courier.submit([sent])
        # The body would take 2 s.
        assert await courier.settle([sent["eventId"]], timedelta(seconds=1.5))
        assert courier.counters.delivered == 1
        await courier.close(timedelta())
