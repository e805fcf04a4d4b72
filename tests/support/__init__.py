"""Helpers that several tests share."""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Self, TypeVar

import psutil

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds until what does not come counts as missing, on a busy machine too."""


async def eventually(
    check: Callable[[], T | Awaitable[T]], *, within: float = PATIENCE, every: float = 0.02
) -> T:
    """Call `check`, plain or async, until what it gives is true, and return that.

    Fails after `within` seconds with the last value, or with the last exception as the cause.
    """
    deadline = time.monotonic() + within
    while True:
        value, error = await _try(check, deadline)
        if error is None and value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(_report(check, within, value, error)) from error
        await asyncio.sleep(every)


async def _try(
    check: Callable[[], T | Awaitable[T]], deadline: float
) -> tuple[T | None, Exception | None]:
    try:
        value = check()
        if inspect.isawaitable(value):
            # A call that is never answered is made again.
            async with asyncio.timeout(max(min(deadline - time.monotonic(), PATIENCE / 3), 0.1)):
                return await value, None
        return value, None
    except (Exception, AssertionError) as error:
        return None, error


def _report(check: object, within: float, value: object, error: Exception | None) -> str:
    name = getattr(check, "__name__", repr(check))
    last = f"raised {error!r}" if error else f"was {value!r}"
    return f"{name} did not hold within {within:g} s; the last answer {last}"


def installed_binary(package: str) -> str:
    """The path of the one executable that a `*-bin` package installed."""
    files = metadata.distribution(package).files or []
    [binary] = [file for file in files if "bin" in file.parts or "Scripts" in file.parts]
    return str(binary.locate().resolve())


def alive(pid: int) -> bool:
    """Whether a process runs. One that ended and was not yet waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Python:
    """A Python process of a test: its output line by line, its end by signal; killed at the end.

    Its standard error is part of its output.
    """

    def __init__(self, *arguments: str, cwd: Path | None = None, **environment: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TEMPORAL_", "DURABLE_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-u", *arguments],
            cwd=cwd,
            env={**kept, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._given = 0

    @classmethod
    def code(
        cls, program: str, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> Self:
        """Run a program given as text."""
        return cls("-c", textwrap.dedent(program), *arguments, cwd=cwd, **environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def megabytes(self) -> float:
        """The memory it holds now."""
        return psutil.Process(self.pid).memory_info().rss / 1_000_000

    @property
    def text(self) -> str:
        """All output so far."""
        return "\n".join(self.output)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def killed(self) -> None:
        """Kill it, and wait for its end."""
        self.signal(signal.SIGKILL)
        await self.exit_code()

    async def line(self, containing: str = "", *, within: float = PATIENCE) -> str:
        """The next line of output with this text in it; lines before it are passed over."""

        def find() -> tuple[int, str] | None:
            lines = enumerate(self.output[self._given :], self._given + 1)
            return next((entry for entry in lines if containing in entry[1]), None)

        try:
            self._given, line = await eventually(find, within=within)
        except AssertionError as error:
            raise AssertionError(f"no line with {containing!r} in:\n{self.text}") from error
        return line

    async def lines(self, *containing: str) -> None:
        """Wait for a line with each of these texts, after those given, in whatever order."""

        def found() -> list[int]:
            rest = self.output[self._given :]
            places = [
                next((i for i, line in enumerate(rest, 1) if text in line), None)
                for text in containing
            ]
            return [place for place in places if place is not None]

        try:
            await eventually(lambda: len(found()) == len(containing))
        except AssertionError as error:
            raise AssertionError(f"not all of {containing} in:\n{self.text}") from error
        self._given += max(found())

    async def exit_code(self, *, within: float = PATIENCE) -> int:
        """Wait for its end, and for the end of its output."""
        try:
            await eventually(lambda: self._process.poll() is not None, within=within)
        except AssertionError as error:
            raise AssertionError(f"still running; its output:\n{self.text}") from error
        self._reader.join(timeout=2)
        return self._process.returncode

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.output.append(line.rstrip("\n"))
