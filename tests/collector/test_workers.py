"""Whether any worker lives: without one, what the page shows may long be otherwise."""

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import pytest

from durable_jobs.tracking import HttpSink
from durable_jobs.tracking.collector.signs import EVERY, Signs
from durable_jobs.tracking.sinks.signs import Signs as Signing
from tests.support import eventually

from .browser import Browser
from .page import shows
from .support import Sender, event, running

GREEN = "document.getElementById('live').classList.contains('on')"


async def test_a_collector_counts_who_sent_lately_events_or_not(collector: Sender) -> None:
    assert (await collector.get("/api/summary"))["workers"] == {"alive": 0, "lastSeenAt": None}
    for name in ("1@a", "2@a", "1@a"):
        answer = await collector.post(headers={"durable-jobs-worker": name})
        assert answer.headers["durable-jobs-sign-every"] == str(EVERY)
    workers = (await collector.get("/api/summary"))["workers"]
    assert workers["alive"] == 2
    assert abs(workers["lastSeenAt"] - time.time() * 1000) < 10_000


async def test_who_may_not_send_gives_no_sign_of_life(tmp_path: Path) -> None:
    async with running(tmp_path / "events.db", token="secret") as collector:
        assert (await collector.post()).status_code == 401
        assert (await collector.get("/api/summary"))["workers"]["alive"] == 0


def test_workers_that_were_silent_for_long_are_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    signs, now = Signs(), time.monotonic()
    signs.note({"durable-jobs-worker": "1@a"})
    monkeypatch.setattr(time, "monotonic", lambda: now + 3 * EVERY + 10)
    assert signs.summary(None)["alive"] == 0
    for number in range(3_000):
        signs.note({"durable-jobs-worker": f"{number}@a"})
    assert signs.summary(None)["alive"] == 1_000


async def test_a_sink_that_was_asked_says_that_it_lives_and_stops_when_closed() -> None:
    sent = asyncio.Event()
    count = 0

    async def send() -> None:
        nonlocal count
        count += 1
        sent.set()

    signs = Signing(send)
    assert signs.headers == {}
    for none in (None, "", "soon", "-1", "9" * 9):
        signs.note(none)
        assert signs.headers == {}
    signs._every, signs._last = 1, 0.0  # pyright: ignore[reportPrivateUsage]
    signs.note("5")
    assert str(os.getpid()) in signs.headers["durable-jobs-worker"]
    signs._last -= 10  # pyright: ignore[reportPrivateUsage]
    async with asyncio.timeout(5):
        await sent.wait()
    signs.stop()
    assert count == 1


async def test_a_worker_with_nothing_to_tell_is_known_by_its_name(collector: Sender) -> None:
    sink = HttpSink(f"{collector.address}/events")
    await sink.send([event(1)])
    # It is asked by the answer to its first request.
    await sink.send([])
    assert (await collector.get("/api/summary"))["workers"]["alive"] == 2
    await sink.close()


async def test_without_a_worker_the_page_is_not_green(tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "events.db"
    async with running(path) as collector:
        await browser.go(collector.address)
        assert await shows(browser, "no worker has been heard of yet", "#live")
        assert not await browser.evaluate(GREEN)
        await collector.send(event(1))

        async def green() -> bool:
            return await browser.evaluate(GREEN)

        await eventually(green)
        assert await shows(browser, "1 worker, last sign of life", "#workers")
    with sqlite3.connect(path) as file:
        file.execute("UPDATE events SET received = received - 3600000")
    async with running(path) as collector:
        await browser.go(collector.address)
        assert await shows(browser, "no sign of a worker for 1.0 h", "#live")
        assert not await browser.evaluate(GREEN)
