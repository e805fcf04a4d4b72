"""The real `durable-jobs collector` as a process of its own."""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def collector(database: Path) -> AsyncGenerator[tuple[str, int]]:
    """Start the command; gives its address and process ID once it answers, ends it at the end."""
    command = (sys.executable, "-m", "durable_jobs.cli", "collector", "--db", str(database))
    process = await asyncio.create_subprocess_exec(
        *command, "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://[\w.:]+", line)
        if not found:
            raise RuntimeError(f"the collector did not start: {line!r}")
        yield found[0], process.pid
    finally:
        process.terminate()
        await process.wait()
