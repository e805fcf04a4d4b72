"""The methods that users write: how each may be written, and how one is called."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeVar, cast

from ..errors import DefinitionError
from .threads import in_thread

PLAIN = ("reduce", "initial_state", "upgrade_state")
"""Methods that are called without waiting: reading an instance's state calls them too."""

_T = TypeVar("_T")
_Method = TypeVar("_Method", bound=Callable[..., Any])


def not_written(method: _Method) -> _Method:
    """Marks a base class's handler, so that one of the user's own can be told from it."""
    method.__not_written__ = True  # type: ignore[attr-defined]
    return method


def check_method(job: object, label: str, name: str) -> None:
    """Raise `DefinitionError` where a method would not do what it is written for."""
    method = getattr(job, name, None)
    if method is None and not hasattr(job, name):
        return
    if not callable(method):
        raise DefinitionError(f"{label}: {name} is a method")
    code = _code_of(method)
    if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise DefinitionError(_generator(label, name))
    if name in PLAIN and inspect.iscoroutinefunction(code):
        raise DefinitionError(_not_plain(label, name))


def _code_of(method: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a method: an object may be called as one."""
    while isinstance(method, partial):
        method = method.func
    return method if inspect.isroutine(method) else type(method).__call__


async def call(handler: Callable[..., Awaitable[_T] | _T], *args: Any) -> _T:
    """Call a handler of the user's: a coroutine function here, a plain one in a thread.

    Raises:
        DefinitionError: it is a generator after all, behind a decorator: its body did not run.
    """
    if inspect.iscoroutinefunction(handler):
        return _ran(await handler(*args), handler)
    result = await in_thread(handler, *args)
    if inspect.isawaitable(result):
        return _ran(cast("_T", await result), handler)
    return _ran(cast("_T", result), handler)


def call_plain(method: Callable[..., _T], *args: Any) -> _T:
    """Call a method that must not be async.

    Raises:
        DefinitionError: it is async, or a generator, behind a decorator.
    """
    result = method(*args)
    if type(result) is CoroutineType:
        result.close()
        raise DefinitionError(_not_plain(*_names(method)))
    return _ran(result, method)


def _ran(result: _T, method: Callable[..., Any]) -> _T:
    # A context manager that is made of a generator has it as `gen`.
    held = getattr(result, "__dict__", {}).get("gen", result)
    if type(held) in (GeneratorType, AsyncGeneratorType):
        raise DefinitionError(_generator(*_names(method)))
    return result


def _names(method: Callable[..., Any]) -> tuple[str, str]:
    owner = type(getattr(method, "__self__", None)).__qualname__
    return owner, getattr(method, "__name__", repr(method))


def _generator(label: str, name: str) -> str:
    return f"{label}: {name} is a generator, of which the body would never run; take its yield out"


def _not_plain(label: str, name: str) -> str:
    return f"{label}: {name} is async, but nothing waits for it; write it as a plain def"
