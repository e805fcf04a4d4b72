"""docs/quickstart.md, followed step by step: a failure, a stop of everything, and nothing lost."""

import re
import signal
from pathlib import Path

from durable_jobs.embedded.ports import free_port, listens
from tests.support import Python
from tests.support.recipes import DOCS, write_recipe

PAGE = (DOCS / "quickstart.md").read_text()


def promised(key: str) -> list[str]:
    """The output that the page shows of a key, without times."""
    lines = re.findall(rf"^    ((?:\S+ +debounce:digest:)?{key}\b.*)$", PAGE, re.MULTILINE)
    return [re.split(r"flush at|, \d+ ms", line)[0].strip() for line in lines]


async def add(folder: Path, port: int, text: str) -> None:
    command = re.findall(rf"durable-jobs (add debounce:digest:(?:\w+)) '(\"{text}\")'", PAGE)
    [(words, event)] = command
    address = f"127.0.0.1:{port}"
    arguments = ("-m", "durable_jobs.cli", *words.split(), event)
    with Python(*arguments, cwd=folder, TEMPORAL_ADDRESS=address) as process:
        assert await process.exit_code() == 0, process.text


async def test_the_page_keeps_what_it_promises(tmp_path: Path) -> None:
    write_recipe(tmp_path, "quickstart.md", "digest.py")
    port = next(each for each in iter(free_port, 0) if not listens(each + 1000))
    ports = ("--port", str(port), "--collector-port", "0")
    dev = ("-m", "durable_jobs.cli", "dev", "--jobs", "digest:jobs", *ports)
    alice, bob = promised("alice"), promised("bob")
    assert (len(alice), len(bob)) == (5, 2)

    with Python(*dev, cwd=tmp_path) as first:
        await first.line("Working on task queue")
        await add(tmp_path, port, "hello")
        await add(tmp_path, port, "world")
        await first.lines(*alice)
        await add(tmp_path, port, "still here")
        first.signal(signal.SIGINT)
        assert await first.exit_code() == 0
        assert bob[-1] not in first.text

    with Python(*dev, cwd=tmp_path) as second:
        await second.lines(*bob)
