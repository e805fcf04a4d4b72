"""A collector over a file of its own, and a browser to look at it with."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .browser import NO_BROWSER, Browser, chromium
from .support import Sender, running


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Sender]:
    """A collector that anybody may send to."""
    async with running(tmp_path / "events.db") as sender:
        yield sender


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser with an empty page.

    Without one the test is skipped, or fails where DURABLE_JOBS_TESTS_NEED_BROWSER is set, as in
    CI.
    """
    if chromium() is None and not os.environ.get("DURABLE_JOBS_TESTS_NEED_BROWSER"):
        pytest.skip(NO_BROWSER)
    async with Browser() as browser:
        yield browser
