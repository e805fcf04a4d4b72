"""The worker of `durable-jobs dev`: a process, started anew after changes if so wanted."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import typer

from ..embedded.process import ChildProcess


class WorkerProcess:
    """A worker in a process of its own. It gets `grace` seconds to end when asked to."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], grace: float
    ) -> None:
        self._command, self._environment, self._grace = command, environment, grace
        self._child: ChildProcess | None = None

    async def run(self) -> int:
        """Start it, and wait until it ends by itself; gives its exit code."""
        self._child = ChildProcess(self._command, environment=self._environment)
        return await self._child.ended()

    async def run_anew(self, changes: AsyncIterator[Sequence[Path]]) -> NoReturn:
        """Start it, and again after each change. One that ended by itself waits for a change."""
        while True:
            running = asyncio.create_task(self.run())
            change = asyncio.ensure_future(anext(changes))
            try:
                await asyncio.wait({running, change}, return_when=asyncio.FIRST_COMPLETED)
                if not change.done():
                    code = running.result()
                    typer.echo(f"The worker ended with code {code}; a change starts it again")
                changed = await change
            finally:
                running.cancel()
                change.cancel()
            typer.echo(f"{_named(changed)} changed: starting the worker again")
            await self.stop()

    async def stop(self) -> None:
        """Ask it to end; kill it where it does not."""
        if self._child is not None:
            await self._child.stop(self._grace)

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()


def _named(changed: Sequence[Path]) -> str:
    first, *others = changed
    return f"{first} and {len(others)} more" if others else str(first)


async def changes_of_code(folder: Path) -> AsyncIterator[Sequence[Path]]:
    """The Python files that changed below a folder, each time some do.

    Environments, caches and hidden folders of tools are left out.

    Raises ModuleNotFoundError where watchfiles is not installed.
    """
    from watchfiles import PythonFilter, awatch  # pyright: ignore[reportUnknownVariableType]

    async for changes in awatch(folder, watch_filter=PythonFilter()):
        paths = sorted({Path(path) for _, path in changes})
        yield [path.relative_to(folder) if path.is_relative_to(folder) else path for path in paths]
