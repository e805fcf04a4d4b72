"""The commands as an operator runs them."""

import asyncio
import os
import sys
from pathlib import Path


class Operator:
    """Runs commands in a terminal of 200 columns that shows no colours."""

    def __init__(self, target: str, **environment: str) -> None:
        given = {"TEMPORAL_ADDRESS": target, "COLUMNS": "200", **environment}
        self._environment = {**os.environ, **given}

    async def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "durable_jobs.cli", *words),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
        )
        output, _ = await process.communicate(stdin.encode())
        assert process.returncode == code, output.decode()
        return output.decode()
