"""What callers ask for as an instance continues as new is not cut short."""

from collections.abc import Callable
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client

from durable_jobs import Cron, Every
from durable_jobs.workflows import carry
from durable_jobs.workflows.flush import Flusher
from tests.debounce_jobs import Bench, Held
from tests.jobs import new_key, running_worker, status_of, went_on
from tests.scripted import Push, Total
from tests.skipping import HOUR, Noting
from tests.support import eventually


class Yearly(Noting):
    name = "yearly"
    schedule = Every(HOUR)
    start_immediately = False


def stop_late(monkeypatch: pytest.MonkeyPatch, until: Callable[[Any], bool]) -> list[Any]:
    """Let the first that stops its flushes do so no sooner than something holds for it.

    Returns where that instance is put once it has begun to.
    """
    stop = Flusher.stop
    stopping: list[Any] = []

    async def late(self: Flusher) -> None:
        await stop(self)
        if not stopping:
            stopping.append(workflow.instance())
            await workflow.wait_condition(lambda: until(stopping[0]))

    monkeypatch.setattr(Flusher, "stop", late)
    return stopping


async def test_an_update_that_comes_as_an_instance_stops_its_flushes_is_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = bench.new(Held)
    await held.add_confirmed(Push(n=0))
    monkeypatch.setattr(carry, "MAX_LETTERS", 2)
    stopping = stop_late(monkeypatch, lambda _: not workflow.all_handlers_finished())
    for n in range(1, 4):
        await held.add(Push(n=n))
    await eventually(lambda: stopping)
    receipt = await held.add_confirmed(Push(n=4))
    assert (receipt.created, receipt.event_count) == (False, 5)
    await eventually(lambda: went_on(bench.client, held.instance_id))
    assert await held.state() == Total(ns=list(range(5)))
    await held.terminate()
    await bench.result(held)


async def test_a_schedule_that_is_judged_as_an_instance_stops_its_flushes_goes_along(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(client, queue, Yearly()) as jobs:
        yearly = jobs.continuous(Yearly, new_key())
        await yearly.start()
        await eventually(lambda: _is_planned(yearly))
        monkeypatch.setattr(carry, "MAX_LETTERS", 2)
        stopping = stop_late(monkeypatch, lambda instance: bool(instance._judged))
        for _ in range(3):
            await yearly.resume()
        await eventually(lambda: stopping)
        await yearly.reschedule(Cron("7 9 1 1 *"))
        await eventually(lambda: went_on(client, yearly.instance_id))
        assert (await status_of(yearly)).schedule == {"cron": "7 9 1 1 *"}
        await yearly.terminate()


async def _is_planned(handle: Any) -> bool:
    return (await status_of(handle)).next_run_at is not None
