"""What a user of the page sees and does."""

from typing import Any

from tests.support import eventually

from .browser import Browser

PHONE: dict[str, Any] = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
DESKTOP: dict[str, Any] = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}


async def shows(browser: Browser, words: str, selector: str = "body") -> bool:
    """Wait until an element has these words, whatever the lines they stand in."""

    async def found() -> bool:
        return words in " ".join((await browser.text(selector)).split())

    try:
        return await eventually(found)
    except AssertionError as error:
        raise AssertionError(f"{words!r} is not in: {await browser.text()}") from error


async def chosen(browser: Browser, name: str, value: str) -> None:
    """Choose a value of a filter as its user would."""
    await browser.evaluate(
        f"(() => {{ const field = document.getElementById('{name}'); field.value = '{value}';"
        "field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input')); })()"
    )
