"""The page in a browser: what comes shows without a reload, and is only ever text."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_jobs.tracking.ids import iso_ms
from tests.support import eventually

from .browser import Browser
from .page import DESKTOP, PHONE, chosen, shows
from .support import Sender, event, failed, running

SCRIPT = "<img src=x onerror=document.title='stolen'><script>document.title='stolen'</script>"


async def test_events_appear_without_a_reload(collector: Sender, browser: Browser) -> None:
    await browser.go(collector.address)
    assert await shows(browser, "Live", "#live")
    await browser.evaluate("window.kept = true")
    await collector.send(event(1, id="octocat/hello"))
    assert await shows(browser, "octocat/hello", "#instances")
    assert await shows(browser, "idle", "#instances")
    await collector.send(failed(2, "the API answered 502", id="octocat/hello"))
    assert await shows(browser, "retrying", "#instances")
    assert await shows(browser, "the API answered 502", "#instances")
    assert await browser.evaluate("window.kept") is True


async def test_a_timeline_shows_attempts_with_stack_and_grows(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(event(1, type="job.started"), failed(2, attempt=2, runCount=1))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "Attempt 2 of run 1 failed will be tried again", "#detail")
    assert await shows(browser, "no luck", "#detail")
    await browser.evaluate("document.querySelector('#detail details').open = true")
    assert await shows(browser, "Traceback: in execute", "#detail")
    await collector.send(event(3, attempt=3, runCount=1))
    assert await shows(browser, "at attempt 3, in 12 ms", "#detail")
    assert await shows(browser, "Traceback: in execute", "#detail")


async def test_a_missing_sequence_is_shown_and_goes_when_the_event_comes(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(event(2), event(5))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "3 events missing of 5: numbers 1, 3 to 4", "#gaps")
    assert await shows(browser, "Numbers 3 to 4 are missing", "#detail")
    assert await shows(browser, "Number 1 is missing", "#detail")
    await collector.send(event(1), event(3), event(4))
    assert await shows(browser, "no event missing", "#totals")

    async def whole() -> bool:
        hidden = await browser.evaluate("document.getElementById('gaps').hidden")
        return hidden and "issing" not in await browser.text("#detail")

    await eventually(whole)


async def test_a_filter_holds_in_the_address(collector: Sender, browser: Browser) -> None:
    await collector.send(event(1), failed(1, executionId="y", instanceId="task:triage:b", id="b"))
    await browser.go(collector.address)
    assert await shows(browser, "1 retrying", "#totals")
    await chosen(browser, "state", "retrying")
    await chosen(browser, "text", "triage:b")

    async def one_left() -> bool:
        return await browser.evaluate("document.querySelectorAll('#instances li').length") == 1

    await eventually(one_left)
    address = await browser.evaluate("location.search")
    assert address == "?text=triage%3Ab&state=retrying"
    await browser.go(f"{collector.address}{address}")
    assert await shows(browser, "retrying", "#instances")
    await eventually(one_left)
    assert await browser.evaluate("document.getElementById('text').value") == "triage:b"
    assert await browser.evaluate("document.getElementById('state').value") == "retrying"


async def test_script_in_an_event_is_shown_as_text(collector: Sender, browser: Browser) -> None:
    names = {"id": SCRIPT, "instanceId": f"task:triage:{SCRIPT}", "jobName": SCRIPT}
    error = {"message": SCRIPT, "stack": SCRIPT}
    await collector.send(failed(2, **names, error=error), event(3, type=SCRIPT, **names))
    await browser.go(collector.address)
    assert await shows(browser, SCRIPT, "#instances")
    await browser.evaluate("document.querySelector('#instances a').click()")
    assert await shows(browser, SCRIPT, "#detail .timeline .said")
    assert await browser.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert await browser.evaluate("document.title") == "Jobs"


async def test_the_page_says_when_it_is_not_live_and_goes_on_by_itself(
    tmp_path: Path, browser: Browser
) -> None:
    async with running(tmp_path / "events.db") as collector:
        port = collector.http.base_url.port or 0
        await collector.send(event(1))
        await browser.go(collector.address)
        assert await shows(browser, "Live", "#live")
    assert await shows(browser, "Not live", "#live")
    async with running(tmp_path / "events.db", port) as collector:
        assert await shows(browser, "Live", "#live")
        await collector.send(failed(2))
        assert await shows(browser, "retrying", "#instances")


async def test_pages_that_were_left_do_not_use_up_the_connections(
    collector: Sender, browser: Browser
) -> None:
    for visit in range(10):
        await browser.go(f"{collector.address}?text={visit}")
        assert await shows(browser, "Live", "#live")


async def test_an_empty_page_says_where_events_go(collector: Sender, browser: Browser) -> None:
    await browser.go(collector.address)
    assert await shows(browser, f"{collector.address}/events", "#none")
    await collector.send(event(1))
    assert await shows(browser, "triage", "#instances")
    await chosen(browser, "text", "nothing like it")
    assert await shows(browser, "No instance fits", "#none")


FLUSHED = {"type": "debounce.flushed", "reason": "timeout", "durationMs": 5012}
ALARM = {"type": "task.scheduled", "trigger": "event"}
EXHAUSTED = {"type": "job.retryExhausted", "attempts": 3, "reason": "max_attempts"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"attempt": 3, "runCount": 7}, "Run 7 succeeded at attempt 3, in 12 ms"),
        ({"type": "job.started"}, "Started"),
        (
            {**FLUSHED, "eventCount": 17, "flushReason": "quiet"},
            "Window flushed with 17 events after 5.0 s, because it was quiet for long enough",
        ),
        ({**FLUSHED, "eventCount": 0}, "Window closed without a run every event in it was rej"),
        ({"type": "debounce.started"}, "Window opened flushes when it is full"),
        (EXHAUSTED, "Gave up 3 attempts, no more are allowed"),
        (
            {"type": "job.terminated", "reason": "closed", "discardedEvents": 2, "runCount": 1},
            "Ended closed; after 1 run; 2 events discarded",
        ),
        ({"type": "job.later", "by": "ada"}, "job.later"),
        ({"type": "job.paused", "by": "user", "note": "ada: why"}, "Paused by a caller: ada: why"),
        ({"type": "job.resumed", "by": "exhausted"}, "Resumed by itself, as a run succeeded"),
        ({**ALARM, "scheduledAt": "2126-03-04T00:00:00.000Z"}, "Alarm set for Mar 4, 2126, "),
    ],
)
async def test_what_happened_reads_as_a_sentence(
    collector: Sender, browser: Browser, more: dict[str, Any], sentence: str
) -> None:
    await collector.send(event(1, **more))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, sentence, "#detail")
    if more.get("by") == "ada":
        await browser.evaluate("document.querySelector('#detail details').open = true")
        assert await shows(browser, '"by": "ada"', "#detail")


async def test_an_instance_is_a_click_away_from_its_workflow_in_temporal(
    tmp_path: Path, browser: Browser
) -> None:
    async with running(tmp_path / "e.db", temporal_ui="http://ui.example") as collector:
        await collector.send(event(1, instanceId="task:triage:a/b"))
        await browser.go(f"{collector.address}?instance=task:triage:a/b")
        assert await shows(browser, "Open in Temporal", "#detail")
        link = await browser.evaluate("document.querySelector('#detail a[target]').href")
        assert link == "http://ui.example/namespaces/default/workflows/task%3Atriage%3Aa%2Fb"


async def test_runs_and_failures_are_drawn(collector: Sender, browser: Browser) -> None:
    await collector.send(*(event(n) for n in range(1, 91)), *(failed(n) for n in range(91, 101)))
    await browser.call("Emulation.setDeviceMetricsOverride", **DESKTOP)
    await browser.go(collector.address)
    assert await shows(browser, "failed 10 (10.0 %) of these tried again 10 (100.0 %)", "#legend")
    for name in ("executed", "failed", "retried"):
        assert await browser.evaluate(f"document.querySelectorAll('#plot rect.{name}').length")
    assert await shows(browser, "Share of attempts that failed", "#plot")
    for name in ("failed", "retried"):
        path = await browser.evaluate(f"document.querySelector('#plot path.{name}').outerHTML")
        assert "H" in path


@pytest.mark.parametrize(
    ("span", "every", "width", "words"),
    [("6h", 1, 2, "2 minutes"), ("24h", 2, 10, "10 minutes"), ("30d", 60, 360, "6 hours")],
)
async def test_a_bar_shows_just_what_happened_in_its_time(
    collector: Sender, browser: Browser, span: str, every: int, width: int, words: str
) -> None:
    minutes = {"6h": 360, "24h": 1440, "30d": 43_200}[span] + 2 * width
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    now -= timedelta(minutes=now.minute % every)
    times = [now - timedelta(minutes=before) for before in range(0, minutes, every)]
    await collector.send(*(event(n, timestamp=iso_ms(at)) for n, at in enumerate(times, 1)))
    await browser.go(f"{collector.address}?range={span}")
    assert await shows(browser, f"a bar is {words}", "#legend")
    titles = await browser.evaluate(
        "[...document.querySelectorAll('#plot g > title')].map((title) => title.textContent)"
    )
    # The last bars' time may not be over.
    assert len(titles) > 70
    for title in titles[:-2]:
        assert f", {width} min: {width // every} succeeded" in title


async def test_an_instance_is_chosen_and_left_by_keyboard(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(event(1))
    await browser.go(collector.address)
    assert await shows(browser, "triage", "#instances")
    await browser.evaluate("document.querySelector('#instances a').focus()")
    for key, code in (("Enter", 13), ("Escape", 27)):
        for kind in ("rawKeyDown", "char", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "char" else {}
            if kind == "char" and not text:
                continue
            await browser.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )
        if key == "Enter":
            assert await shows(browser, "Run 1 succeeded", "#detail")
    await eventually(lambda: browser.evaluate("location.search === ''"))

    async def left() -> bool:
        return await browser.text("#about") == ""

    await eventually(left)


@pytest.mark.parametrize("address", ["", "?instance=task:triage:a"])
async def test_nothing_is_wider_than_a_phone(
    collector: Sender, browser: Browser, address: str
) -> None:
    await collector.send(failed(2, "long" * 200, id="k" * 150))
    await browser.call("Emulation.setDeviceMetricsOverride", **PHONE)
    await browser.go(f"{collector.address}{address}")
    assert await shows(browser, "longlong", "#detail" if address else "#instances")
    assert await browser.evaluate("document.documentElement.scrollWidth") == 390


async def test_the_plots_numbers_stay_within_their_card_on_a_phone(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(*(failed(n) for n in range(1, 9)))
    await browser.call("Emulation.setDeviceMetricsOverride", **PHONE)
    await browser.go(collector.address)
    assert await shows(browser, "failed 8", "#legend")
    await browser.evaluate("document.querySelector('#fold summary').click()")
    assert await shows(browser, "100 %", "#plot")
    left = "Math.min(...[...document.querySelectorAll('#plot text')].map(LEFT))"
    text = left.replace("LEFT", "text => text.getBoundingClientRect().left")
    plot = "document.querySelector('#plot').getBoundingClientRect().left"
    assert await browser.evaluate(f"{text} >= {plot}")
