"""Helpers that several tests share."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    check: Callable[[], T | Awaitable[T]], *, within: float = 10.0, every: float = 0.02
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
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.1)):
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
