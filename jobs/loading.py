"""The jobs of a worker: named as `module:attribute`, given as values, opened and closed."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from durable_jobs.activities.failures import chain_of, in_a_line

from .definitions import Job
from .errors import JobsError

_MOST_FRAMES = 8
_MOST_CAUSES = 3
_CONTEXTLIB = "contextlib.py"

JobsValue = Sequence[Job] | AbstractAsyncContextManager[Sequence[Job]]
"""Jobs, or an async context manager that gives them and closes what they hold afterwards."""

JobsSource = JobsValue | Callable[[], JobsValue | Awaitable[JobsValue]]
"""What a worker takes: the same, or a function that gives it."""


class LoadError(JobsError):
    """The jobs of a worker cannot be found or made, or are not jobs. Says what to do."""


def load_jobs(reference: str) -> JobsSource:
    """Import `module:attribute`; the current directory comes first on the import path.

    Raises LoadError where that fails; whether it gives jobs shows when it is opened.
    """
    name, colon, path = reference.partition(":")
    if not (name and colon and path):
        raise LoadError(f"{reference!r} is not of the form module:attribute, as in myapp.jobs:jobs")
    if name.endswith(".py"):
        module = name.removesuffix(".py").replace("/", ".")
        raise LoadError(f"{reference!r} names a file; name the module: {module}:{path}")
    value: Any = _import(name)
    for part in path.split("."):
        if not hasattr(value, part):
            raise LoadError(f"{reference}: {name} has no attribute {path!r}{_similar(value)}")
        value = getattr(value, part)
    return value


@asynccontextmanager
async def opened(*sources: JobsSource) -> AsyncGenerator[list[Job]]:
    """The jobs of all sources together, until the end of the block.

    Raises LoadError for a source that gives something else.
    """
    async with AsyncExitStack() as stack:
        jobs: list[Job] = []
        for source in sources:
            jobs += await _open(source, stack)
        yield jobs


async def _open(source: JobsSource, stack: AsyncExitStack) -> list[Job]:
    try:
        value = await _made(source, stack)
    except JobsError:
        raise
    except Exception as error:
        raise LoadError(_told(f"{_name(source)} cannot make its jobs", error)) from error
    if isinstance(value, str | bytes | type) or not isinstance(value, Iterable):
        raise LoadError(
            f"{_describe(value)} is not a sequence of jobs, such as [{_example(value)}]"
        )
    return [_checked(job) for job in cast("Iterable[object]", value)]


async def _made(source: JobsSource, stack: AsyncExitStack) -> Any:
    # A context manager made by a decorator can be called too, but that means another thing.
    value: Any = source
    if not isinstance(source, type | AbstractAsyncContextManager) and callable(source):
        value = source()
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, AbstractAsyncContextManager):
        value = await stack.enter_async_context(cast("AbstractAsyncContextManager[Any]", value))
    return value


def _name(source: Any) -> str:
    name = getattr(source, "__qualname__", None)
    return f"{source.__module__}.{name}" if name else _describe(source)


def _checked(job: object) -> Job:
    if isinstance(job, Job):
        return job
    if isinstance(job, type) and issubclass(job, Job):
        raise LoadError(f"{job.__name__} is a class; give an instance of it: {job.__name__}()")
    raise LoadError(f"{_describe(job)} is not a job; jobs are instances of the job classes")


def _describe(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else f"a {type(value).__name__}"


def _example(value: Any) -> str:
    if isinstance(value, type):
        return f"{value.__name__}()"
    return f"{type(value).__name__}()" if isinstance(value, Job) else "MyJob()"


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    _set_up_django()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise LoadError(
                f"There is no module {error.name!r} in {here} or in the installed packages. "
                "Run this where it can be imported, or install it."
            ) from error
        raise LoadError(_told(f"{name} cannot be imported", error)) from error
    except Exception as error:
        raise LoadError(_told(f"{name} cannot be imported", error)) from error


def _set_up_django() -> None:
    """Where its variable names settings, make them and the models ready for what is loaded."""
    if not (settings := os.environ.get("DJANGO_SETTINGS_MODULE")):
        return
    try:
        import django
        from django.apps import apps
    except ModuleNotFoundError:
        # The variable may be set on a machine that has no Django.
        return
    try:
        if not apps.ready:
            django.setup()
    except Exception as error:
        what = f"Django cannot be set up with DJANGO_SETTINGS_MODULE={settings}"
        raise LoadError(_told(what, error)) from error


def _told(what: str, error: Exception) -> str:
    """What went wrong in a line, then where in the user's files, with the errors behind it."""
    first, *behind = islice(chain_of(error), _MOST_CAUSES)
    lines = [f"{what}: {in_a_line(first)}", _place(first)]
    for cause in behind:
        lines += [f"behind it: {in_a_line(cause)}", _place(cause)]
    return "\n".join(filter(None, lines))


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame)]
    lines = traceback.format_list(frames[-_MOST_FRAMES:])
    if isinstance(error, SyntaxError):
        # Its place is no frame: no line of the file has run.
        lines += traceback.format_exception_only(error)[:-1]
    return "".join(lines).rstrip()


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Not a frame of the import itself, which says nothing."""
    path = Path(frame.filename)
    internal = frame.filename == __file__ or "importlib" in path.parts or path.name == _CONTEXTLIB
    return not internal and not frame.filename.startswith("<frozen")


def _similar(value: object) -> str:
    from difflib import get_close_matches

    public = [name for name in dir(value) if not name.startswith("_")]
    likely = [name for name in public if "job" in name.lower()]
    close = get_close_matches("jobs", public) or likely
    return f"; it has {', '.join(close[:3])}" if close else ""
