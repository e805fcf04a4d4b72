"""A collector over a file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .support import Sender, running


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Sender]:
    """A collector that anybody may send to."""
    async with running(tmp_path / "events.db") as sender:
        yield sender
