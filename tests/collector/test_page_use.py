"""The page in use: what its user holds, does and goes back to stays, however much comes."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.support import eventually

from .browser import Browser
from .page import DESKTOP, PHONE, chosen, shows
from .support import Sender, event, failed

STACK = "document.querySelector('#events details')"
STATE = "[location.search, document.getElementById('type').value]"


async def is_true(browser: Browser, expression: str) -> bool:
    """Wait until an expression holds in the page."""

    async def holds() -> bool:
        return await browser.evaluate(expression) is True

    try:
        return await eventually(holds)
    except AssertionError as error:
        raise AssertionError(f"{expression} does not hold") from error


def others(number: int, sequence: int = 1) -> list[dict[str, Any]]:
    """An event of each of so many instances."""
    return [
        event(sequence, instanceId=f"task:triage:{n:04}", id=f"{n:04}", executionId=f"x{n:04}")
        for n in range(number)
    ]


async def test_one_answer_that_failed_is_forgotten_at_the_next_good_one(
    collector: Sender, browser: Browser
) -> None:
    await browser.go(collector.address)
    assert await shows(browser, "Live", "#live")
    await browser.evaluate(
        "(() => { const fetched = window.fetch; window.fetch = () => {"
        "window.fetch = fetched; return Promise.reject(new TypeError('gone')); }; })()"
    )
    await collector.send(event(1))
    assert await shows(browser, "No answer: gone", "#live")
    await collector.send(event(2))
    assert await shows(browser, "Live", "#live")
    assert await shows(browser, "2 runs", "#instances")


async def test_a_timeline_goes_on_to_its_first_event(collector: Sender, browser: Browser) -> None:
    for first in range(1, 701, 100):
        await collector.send(*(event(n) for n in range(first, first + 100)))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    for more in (100, 300, 500):
        assert await is_true(browser, f"document.querySelectorAll('#events li').length === {more}")
        await browser.evaluate("document.getElementById('older').click()")
    assert await is_true(browser, "document.querySelectorAll('#events li').length === 700")
    assert await shows(browser, "#1 ", "#events li:last-child")
    assert await is_true(browser, "document.getElementById('older').hidden")


async def test_the_list_goes_on_to_the_last_instance(collector: Sender, browser: Browser) -> None:
    await collector.send(*others(560))
    await browser.go(collector.address)
    for more in (50, 150, 250, 350, 450, 550):
        assert await is_true(
            browser, f"document.querySelectorAll('#instances li').length === {more}"
        )
        await browser.evaluate("document.getElementById('more').click()")
    assert await is_true(browser, "document.querySelectorAll('#instances li').length === 560")
    assert await is_true(browser, "document.getElementById('more').hidden")


@pytest.mark.parametrize("name", ["constructor", "__proto__", "hasOwnProperty", "toString"])
async def test_what_every_object_has_is_a_name_like_any_other(
    collector: Sender, browser: Browser, name: str
) -> None:
    await collector.send(event(1, type=name))
    await browser.go(f"{collector.address}?instance=task:triage:a&range={name}")
    assert await shows(browser, name, "#events")
    assert await shows(browser, "succeeded 0", "#legend")
    assert await shows(browser, "Live", "#live")


async def test_what_is_focused_and_selected_stays_when_events_come(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(failed(1))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "Stack", "#events")
    await browser.evaluate(
        f"(() => {{ const stack = {STACK}; stack.open = true; stack.firstChild.focus();"
        "getSelection().selectAllChildren(stack.lastChild); })()"
    )
    await collector.send(failed(2), failed(1, executionId="y", instanceId="task:triage:b"))
    assert await shows(browser, "#2 ", "#events")
    assert await shows(browser, "2 retrying", "#totals")
    assert await browser.evaluate("getSelection().toString()") == "Traceback: in execute"
    assert await browser.evaluate("document.activeElement.textContent") == "Stack"
    await browser.evaluate("document.querySelector('#totals a').focus()")
    await collector.send(failed(1, executionId="z", instanceId="task:triage:c"))
    assert await shows(browser, "3 retrying", "#totals")
    assert await browser.evaluate("document.activeElement.textContent") == "3 retrying"


async def test_whoever_closes_a_timeline_is_at_its_instance_again(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(*others(3))
    await browser.go(collector.address)
    assert await shows(browser, "0001", "#instances")
    await browser.evaluate("document.querySelector('[data-instance=\"task:triage:0001\"]').click()")
    assert await shows(browser, "Close", "#about")
    await browser.evaluate("document.querySelector('#about .links a').click()")
    assert await is_true(browser, "document.activeElement.dataset.instance === 'task:triage:0001'")
    assert await is_true(browser, "document.getElementById('about').childElementCount === 0")
    assert await browser.evaluate("document.activeElement.dataset.instance") == "task:triage:0001"


@pytest.mark.parametrize("way", ["history.back()", "document.querySelector('.links a').click()"])
async def test_the_list_on_a_phone_is_found_where_it_was_left(
    collector: Sender, browser: Browser, way: str
) -> None:
    await collector.send(*others(50))
    await browser.call("Emulation.setDeviceMetricsOverride", **PHONE)
    await browser.go(collector.address)
    assert await is_true(browser, "document.querySelectorAll('#instances li').length === 50")
    # What is drawn above the list, until all is, moves what was scrolled to.
    assert await is_true(browser, "(scrollTo(0, 1234), scrollY === 1234)")
    left = await browser.evaluate(
        "(() => { const left = scrollY;"
        "document.querySelector('#instances li:nth-child(20) a').click(); return left; })()"
    )
    assert await shows(browser, "Run 1 succeeded", "#events")
    assert await browser.evaluate("scrollY") == 0
    await browser.evaluate(way)
    assert await is_true(browser, "document.getElementById('about').childElementCount === 0")
    assert await is_true(browser, f"scrollY === {left}")
    assert left > 1000


async def test_back_undoes_a_choice_and_not_a_letter(collector: Sender, browser: Browser) -> None:
    await collector.send(event(1))
    await browser.go(collector.address)
    assert await shows(browser, "triage", "#instances")
    await chosen(browser, "type", "task")
    await chosen(browser, "text", "tri")
    await chosen(browser, "text", "triage")
    await browser.evaluate("document.getElementById('reset').click()")
    assert await is_true(browser, "location.search === ''")
    await browser.evaluate("history.back()")
    assert await is_true(browser, f"{STATE}.join() === '?text=triage&type=task,task'")
    await browser.evaluate("history.back()")
    assert await is_true(browser, f"{STATE}.join() === ','")


async def test_a_link_to_an_instance_opens_at_its_timeline(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(*others(40), *(event(n) for n in range(3, 40, 2)))
    await browser.call("Emulation.setDeviceMetricsOverride", **DESKTOP)
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "Run 39 succeeded", "#events")
    top = "document.getElementById('detail').getBoundingClientRect().top"
    assert await is_true(browser, f"{top} >= 0 && {top} < 20")


async def test_a_choice_does_not_wait_until_events_may_be_asked_for_again(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(*others(3))
    # The page's timers stand still, and the first choice is answered late.
    await browser.call(
        "Page.addScriptToEvaluateOnNewDocument", source="window.setTimeout = () => 0"
    )
    await browser.go(collector.address)
    assert await shows(browser, "0001", "#instances")
    await browser.evaluate(
        "(() => { const fetched = window.fetch;"
        "const gate = new Promise((open) => { window.release = open; });"
        "window.fetch = async (...asked) => { if (asked[0].includes('text=000&')) {"
        "window.held = true; await gate; } return fetched(...asked); }; })()"
    )
    await chosen(browser, "text", "000")
    assert await is_true(browser, "window.held")
    await chosen(browser, "text", "0002")
    await browser.evaluate("window.release()")
    assert await is_true(browser, "document.querySelectorAll('#instances li').length === 1")


async def test_only_so_many_ranges_are_listed_and_the_rest_is_counted(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(*(event(n) for n in range(2, 201, 2)))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    few = "100 events missing of 200: numbers 1, 3, 5, 7, 9 and 95 more"
    assert await shows(browser, few, "#gap-list")
    assert await shows(browser, "97, 99 and 50 more", "#about")


async def test_few_gaps_are_shown_until_more_are_asked_for(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(*others(9, sequence=2))
    await browser.go(collector.address)
    assert await shows(browser, "Missing events in 9 executions", "#gaps-title")
    assert await is_true(browser, "document.querySelectorAll('#gap-list li').length === 3")
    await browser.evaluate("document.getElementById('more-gaps').click()")
    assert await is_true(browser, "document.querySelectorAll('#gap-list li').length === 9")
    assert await is_true(browser, "document.getElementById('more-gaps').hidden")


async def test_gaps_go_on_as_far_as_there_are_any(collector: Sender, browser: Browser) -> None:
    await collector.send(*others(60, sequence=2))
    await browser.go(collector.address)
    for listed in (3, 53, 60):
        assert await is_true(
            browser, f"document.querySelectorAll('#gap-list li').length === {listed}"
        )
        await browser.evaluate("document.getElementById('more-gaps').click()")
    assert await is_true(browser, "document.getElementById('more-gaps').hidden")


async def test_a_number_given_to_two_events_is_a_fault(collector: Sender, browser: Browser) -> None:
    await collector.send(event(1), event(2), event(2, eventId="other"), event(4))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "Missing or clashing events in 1 execution", "#gaps-title")
    fault = "1 event missing of 4: number 3; 1 number given to two events"
    assert await shows(browser, fault, "#gap-list")
    assert await shows(browser, fault, "#about")
    assert await shows(browser, "Number 2 was given to two events", "#events")


async def test_a_number_given_twice_is_a_fault_where_none_is_missing(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(event(1), event(1, eventId="other"))
    await browser.go(collector.address)
    assert await shows(browser, "1 number given to two events", "#gap-list")
    assert await shows(browser, "Missing or clashing events in 1 execution", "#gaps-title")
    assert "0 events" not in await browser.text("#gap-list")


async def test_whoever_gave_up_looks_like_it(collector: Sender, browser: Browser) -> None:
    await collector.send(
        failed(1, "card declined", willRetry=False),
        event(2, type="job.retryExhausted", attempts=1, reason="max_attempts"),
        event(3, type="job.terminated", reason="Retry exhausted after 1 attempts"),
    )
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "1 failed", "#totals")
    assert await shows(browser, "failed", "#state")
    assert await shows(browser, "card declined", "#instances")
    assert await shows(browser, "card declined", "#about")
    assert await browser.evaluate(
        "(() => { const red = document.createElement('p'); red.style.color = 'var(--bad)';"
        "document.body.append(red); const color = (one) => getComputedStyle(one).color;"
        "return color(document.querySelector('#instances .pill')) === color(red); })()"
    )


async def test_times_say_their_zone_and_are_whole(collector: Sender, browser: Browser) -> None:
    await browser.call("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    await collector.send(event(1, timestamp="2021-03-04T05:06:07.089Z"))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "Times in Asia/Tokyo", "#zone")
    assert await shows(browser, "Mar 4, 2021, 02:06:07 PM", "#events")
    title = await browser.evaluate("document.querySelector('#events time').title")
    assert title == "2021-03-04T05:06:07.089Z"


async def test_numbers_in_another_order_than_times_are_explained(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(event(1), event(2))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "#2 ", "#events")
    assert "order" not in await browser.text("#about")
    await collector.send(event(3, timestamp="2021-03-04T05:06:07.089Z"))
    assert await shows(browser, "The numbers are the order in which the instance learned", "#about")


async def test_an_alarm_that_is_over_is_not_to_come(collector: Sender, browser: Browser) -> None:
    alarm = {"type": "task.scheduled", "trigger": "event"}
    await collector.send(event(1, **alarm, scheduledAt="2126-03-04T00:00:00Z"))
    await browser.go(f"{collector.address}?instance=task:triage:a")
    assert await shows(browser, "next Mar 4, 2126", "#about")
    await collector.send(event(2, **alarm, scheduledAt="2021-03-04T00:00:00Z"))
    assert await shows(browser, "#2 ", "#events")
    assert "next" not in await browser.text("#about")


async def test_the_plot_begins_with_a_range_that_fits(collector: Sender, browser: Browser) -> None:
    await collector.send(event(1))
    await browser.go(collector.address)
    numbers = "succeeded 1 failed 0 (0.0 %) of these tried again 0 a bar is 1 minute"
    assert await shows(browser, numbers, "#legend")
    assert await browser.evaluate("document.getElementById('range').value") == "1h"
    await chosen(browser, "range", "24h")
    assert await shows(browser, "a bar is 10 minutes", "#legend")
    assert await browser.evaluate("document.getElementById('range').value") == "24h"


async def test_the_plot_says_of_what_it_is_and_hides_its_bars_from_readers_aloud(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(event(1), failed(2), failed(3, willRetry=False))
    await browser.call("Emulation.setDeviceMetricsOverride", **DESKTOP)
    await browser.go(collector.address)
    assert await shows(browser, "Attempts of all jobs", "#rates-title")
    assert await shows(browser, "failed 2 (66.7 %) of these tried again 1 (50.0 %)", "#legend")
    await chosen(browser, "job", "triage")
    assert await shows(browser, "Attempts of job triage", "#rates-title")
    await browser.call("Accessibility.enable")
    tree = await browser.call("Accessibility.getFullAXTree")
    names = [node.get("name", {}).get("value", "") for node in tree["nodes"] if not node["ignored"]]
    assert "1 runs succeeded, 2 attempts failed" in names
    assert not [name for name in names if "1 min:" in name]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_states_can_be_read_on_the_chosen_row_too(
    collector: Sender, browser: Browser, scheme: str
) -> None:
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    await browser.call("Emulation.setEmulatedMedia", features=media)
    await browser.go(collector.address)
    assert await shows(browser, "Live", "#live")
    luminance = (
        "const light = (name) => { const [r, g, b] = style.getPropertyValue(name).match(/\\w/g)"
        ".join('').replace(/^(.)(.)(.)$/, '$1$1$2$2$3$3').match(/../g).map((part) => {"
        "const c = parseInt(part, 16) / 255;"
        "return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });"
        "return 0.2126 * r + 0.7152 * g + 0.0722 * b; };"
    )
    worst = await browser.evaluate(
        f"(() => {{ const style = getComputedStyle(document.documentElement); {luminance}"
        "const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);"
        "const inks = ['ink', 'soft', 'link', 'ok', 'warn', 'bad', 'calm'];"
        "return Math.min(...inks.flatMap((ink) => ['card', 'mark', 'bg'].map((ground) =>"
        "contrast(light(`--${ink}`), light(`--${ground}`))))); })()"
    )
    assert worst >= 4.5  # WCAG 2.2, 1.4.3


MARKED = "\u202eevil\u202d"  # turns what follows around


async def test_texts_from_outside_keep_their_direction_to_themselves(
    collector: Sender, browser: Browser
) -> None:
    texts = {"id": f"key{MARKED}", "jobName": f"job{MARKED}", "env": f"env{MARKED}"}
    instance = f"task:triage:{MARKED}"
    await collector.send(
        failed(2, f"no{MARKED}", **texts, instanceId=instance),
        event(3, type="job.paused", by="user", note=f"note{MARKED}", **texts, instanceId=instance),
        event(4, type="job.terminated", reason=f"why{MARKED}", **texts, instanceId=instance),
    )
    await browser.go(f"{collector.address}?instance={quote(instance)}")
    assert await shows(browser, "why", "#events")
    assert await shows(browser, "missing", "#gap-list")
    outside = await browser.evaluate(
        "(() => { const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);"
        "const found = []; while (walk.nextNode()) { const node = walk.currentNode;"
        "if (node.data.includes('\u202e') && !node.parentElement.closest('bdi, option'))"
        "found.push(node.data); } return found; })()"
    )
    assert outside == []
    # Right before the state stands what says who paused it.
    assert await browser.evaluate("document.querySelectorAll('#instances bdi').length") >= 3


async def test_what_is_missing_can_be_acknowledged_by_a_click(
    collector: Sender, browser: Browser
) -> None:
    await collector.send(event(7), event(9, executionId="y", instanceId="task:triage:y"))
    await browser.go(collector.address)
    assert await shows(browser, "6 events missing of 7", "#gap-list")
    await browser.evaluate("document.querySelector('#gap-list li:last-child button').click()")
    assert await shows(browser, "Missing events in 1 execution", "#gaps-title")
    await browser.evaluate("window.confirm = () => true")
    await browser.evaluate("document.getElementById('all-gaps').click()")
    assert await is_true(browser, "document.getElementById('gaps').hidden")
    assert (await collector.get("/api/gaps"))["total"] == 0


async def test_a_paused_instance_shows_why(collector: Sender, browser: Browser) -> None:
    await collector.send(event(1), event(2, type="job.paused", by="user", note="ann: no budget"))
    await browser.go(collector.address)
    assert await shows(browser, "Paused by a caller: ann: no budget", "#instances")
    assert await shows(browser, "1 paused", "#totals")
    await chosen(browser, "state", "paused")
    assert await shows(browser, "triage", "#instances")
