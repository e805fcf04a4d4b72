"""What the page's timeline says of numbers between those of the events that it shows."""

from pathlib import Path

from .browser import Browser
from .page import shows
from .support import Sender, event, forgetting

ROWS = "[...document.querySelectorAll('#events .gap')].map((row) => row.textContent)"
EARLY = "2021-03-04T05:06:07.089Z"


async def test_an_event_further_down_because_of_its_time_is_not_missing(
    collector: Sender, browser: Browser
) -> None:
    others = [event(n) for n in range(1, 111) if n not in (50, 52)]
    await collector.send(*others, event(50, timestamp=EARLY))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "Number 52 is missing", "#events")
    assert await browser.evaluate(ROWS) == ["Number 52 is missing"]


async def test_what_retention_deleted_is_not_missing(tmp_path: Path, browser: Browser) -> None:
    # The third and fourth came late, and so are kept when the fifth is not.
    sent = [event(n) for n in (1, 2, 5, 3, 4, 6)]
    async with forgetting(tmp_path / "events.db", *sent, keep=3) as collector:
        await collector.send(event(8))
        await browser.go(f"{collector.address}?instance=task:triage:a")
        assert await shows(browser, "Number 7 is missing", "#events")
        assert await browser.evaluate(ROWS) == ["Number 7 is missing"]


async def test_where_the_books_name_no_more_ranges_the_timeline_is_not_sure(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(*(event(n) for n in range(2, 105, 2)), event(108))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(
        browser, "Numbers 105 to 107 are not shown and some may be missing", "#events"
    )
    first, *rows = await browser.evaluate(ROWS)
    assert first.startswith("Numbers 105 to 107")
    unsure = [f"Number {n} is not shown and may be missing" for n in (103, 101)]
    assert rows == unsure + [f"Number {n} is missing" for n in range(99, 0, -2)]
