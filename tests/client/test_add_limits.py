"""Adds to an instance whose workflow run takes no more signals."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import Busy
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles import batch
from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench, Counted, debounce_bench
from tests.support import eventually
from tests.support.scripted import Push

SIGNALS = 20


@pytest.fixture(scope="module")
async def bench() -> AsyncIterator[Bench]:
    config = {"history.maximumSignalsPerExecution": str(SIGNALS)}
    async with EmbeddedServer(ui=False, config=config) as own:
        client = await Client.connect(own.target)
        async with debounce_bench(client) as bench:
            yield bench


async def fill(bench: Bench, held_up: asyncio.Event) -> Any:
    """An instance whose run is under way, so that it cannot continue as new, and is full."""
    counted = bench.new(Counted)

    async def wait(run: Any) -> None:
        await held_up.wait()

    bench.book.script(counted.key, wait)
    for n in range(3):
        await counted.add(Push(n=n))
    await eventually(lambda: bench.calls(counted))
    for n in range(3, SIGNALS):
        await counted.add(Push(n=n))
    return counted


async def test_an_add_beyond_the_limit_of_a_run_waits_for_the_next_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", SIGNALS // 2)
    held_up = asyncio.Event()
    counted = await fill(bench, held_up)
    adding = [asyncio.create_task(counted.add(Push(n=SIGNALS + n))) for n in range(2)]
    await asyncio.wait(adding, timeout=0.2)
    assert not any(add.done() for add in adding)
    held_up.set()
    await asyncio.gather(*adding)
    await counted.flush()
    await eventually(lambda: sorted(bench.executed(counted)) == list(range(SIGNALS + 2)))


async def test_an_add_that_waited_too_long_for_the_next_run_raises_busy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", SIGNALS // 2)
    monkeypatch.setattr(batch, "_PATIENCE", 0.2)
    held_up = asyncio.Event()
    counted = await fill(bench, held_up)
    with pytest.raises(Busy, match="try again later"):
        await counted.add(Push(n=99))
    held_up.set()
    await eventually(lambda: len(bench.executed(counted)) >= SIGNALS - 2)
    assert 99 not in bench.executed(counted)
    await counted.terminate()
