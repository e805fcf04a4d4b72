"""A collector over a file of its own, and a browser to look at it with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .browser import Browser
from .support import Sender, running


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Sender]:
    """A collector that anybody may send to."""
    async with running(tmp_path / "events.db") as sender:
        yield sender


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser with an empty page."""
    async with Browser() as browser:
        yield browser
