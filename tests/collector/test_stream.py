"""Server-sent events: what comes is announced, and a reader goes on where it stopped."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from .support import Sender, event, forgetting, running


class Stream:
    """A reader of `/api/stream`."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = _lines(answer)

    async def message(self) -> dict[str, str]:
        """The next message that says anything, as its fields."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                if not line and fields:
                    return fields
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
        raise EOFError

    async def event(self) -> tuple[str, str]:
        """The next event's number and ID."""
        message = await self.message()
        return message["id"], json.loads(message["data"])["eventId"]


async def _lines(answer: httpx.Response) -> AsyncGenerator[str]:
    """As the standard of server-sent events splits them: httpx knows more ends of lines."""
    rest = ""
    async for text in answer.aiter_text():
        *lines, rest = re.split("\r\n|\r|\n", rest + text)
        for line in lines:
            yield line


@asynccontextmanager
async def reading(collector: Sender, last: str | None = None) -> AsyncGenerator[Stream]:
    headers = {"Last-Event-ID": last} if last else {}
    async with collector.http.stream("GET", "/api/stream", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Stream(answer)
        assert "retry" in await stream.message()
        yield stream


async def test_an_event_is_announced_once_it_is_kept(collector: Sender) -> None:
    await collector.send(event(1))
    async with reading(collector) as stream:
        await collector.send(event(2), event(1))
        assert (await stream.event())[1] == "x-2"
        await collector.send(event(3))
        assert (await stream.event())[1] == "x-3"


async def test_a_reader_goes_on_after_the_last_event_it_saw(tmp_path: Path) -> None:
    async with running(tmp_path / "events.db") as collector:
        async with reading(collector) as stream:
            await collector.send(event(1))
            last, _ = await stream.event()
        await collector.send(event(2), event(3))
    async with running(tmp_path / "events.db") as collector:
        await collector.send(event(4))
        async with reading(collector, last) as stream:
            assert [(await stream.event())[1] for _ in range(3)] == ["x-2", "x-3", "x-4"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
async def test_an_event_of_several_lines_is_one_message_and_no_text_in_it_changes(
    collector: Sender, end: str
) -> None:
    sent = event(1, note="a\u2028b\u2029\x85\x1c c\r\n")
    text = json.dumps({"events": [sent]}, indent=2, ensure_ascii=False).replace("\n", end)
    async with reading(collector) as stream:
        await collector.http.post("/events", content=text.encode())
        assert json.loads((await stream.message())["data"]) == sent


async def test_a_reader_far_behind_is_told_what_it_is_not_sent(collector: Sender) -> None:
    async with reading(collector, "0") as stream:
        await collector.send(event(1))
        last, _ = await stream.event()
    await collector.send(*(event(n) for n in range(2, 3003)))
    async with reading(collector, last) as stream:
        message = await stream.message()
        assert (message["event"], message["data"]) == ("skipped", "3001")
        await collector.send(event(3003))
        assert (await stream.event())[1] == "x-3003"


@pytest.mark.parametrize("last", [None, "2500"])
async def test_the_first_event_after_retention_deleted_all_is_announced(
    tmp_path: Path, last: str | None
) -> None:
    sent = [event(n) for n in range(1, 2501)]
    async with (
        forgetting(tmp_path / "events.db", *sent) as collector,
        reading(collector, last) as stream,
    ):
        await collector.send(event(2501))
        assert await stream.event() == ("2501", "x-2501")
        assert (await collector.get("/api/summary"))["events"] == 1


@pytest.mark.parametrize(("came", "kept"), [(3000, 500), (1500, 0)])
async def test_a_reader_is_told_what_retention_deleted_before_it_could_read_it(
    tmp_path: Path, came: int, kept: int
) -> None:
    sent = [event(n) for n in range(1, came + 1)]
    gone = came - kept
    async with (
        forgetting(tmp_path / "events.db", *sent, keep=kept) as collector,
        reading(collector, "100") as stream,
    ):
        told = {"event": "skipped", "id": f"{gone}", "data": f"{gone - 100}"}
        assert await stream.message() == told
        await collector.send(event(came + 1))
        assert await stream.event() == (f"{gone + 1}", f"x-{gone + 1}")


async def test_open_streams_do_not_keep_the_collector_from_ending(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        async with running(tmp_path / "events.db") as collector:
            request = collector.http.build_request("GET", "/api/stream")
            await collector.http.send(request, stream=True)
