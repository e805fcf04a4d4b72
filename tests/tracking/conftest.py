"""Fixtures of the tracking tests."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from durable_jobs.tracking import HttpSink, Sink, Tracking
from durable_jobs.tracking.courier import Courier, Pace
from tests.tracking.collector import Collector
from tests.tracking.helpers import FAST

MakeSink = Callable[..., HttpSink]
MakeCourier = Callable[..., Courier]


@pytest.fixture
async def sink_to(collector: Collector) -> AsyncIterator[MakeSink]:
    made: list[HttpSink] = []

    def make(**options: Any) -> HttpSink:
        made.append(HttpSink(collector.url, **options))
        return made[-1]

    yield make
    for sink in made:
        await sink.close()


@pytest.fixture
async def courier_to(collector: Collector) -> AsyncIterator[MakeCourier]:
    """Makes couriers; those that a test leaves open are closed after it."""
    made: list[Courier] = []

    def make(
        *,
        sink: Sink | None = None,
        pace: Pace = FAST,
        give_up_after: timedelta = timedelta(hours=24),
        **options: Any,
    ) -> Courier:
        target = sink or HttpSink(collector.url, **options)
        made.append(Courier(Tracking(target, give_up_after=give_up_after), pace=pace))
        return made[-1]

    yield make
    for courier in made:
        await courier.close(timedelta())
