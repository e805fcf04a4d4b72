"""The jobs of a worker: named as `module:attribute`, given as values, opened and closed."""

import importlib
import inspect
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from .definitions import Job
from .errors import JobsError

JobsValue = Sequence[Job] | AbstractAsyncContextManager[Sequence[Job]]
"""Jobs, or an async context manager that gives them and closes what they hold afterwards."""

JobsSource = JobsValue | Callable[[], JobsValue | Awaitable[JobsValue]]
"""What a worker takes: the same, or a function that gives it."""


class LoadError(JobsError):
    """The jobs of a worker cannot be found or are not jobs. Says what to do."""


def load_jobs(reference: str) -> JobsSource:
    """Import `module:attribute`; the current directory comes first on the import path.

    Raises LoadError where that fails; whether it gives jobs shows when it is opened.
    """
    name, colon, path = reference.partition(":")
    if not (name and colon and path):
        raise LoadError(f"{reference!r} is not of the form module:attribute, as in myapp.jobs:jobs")
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
    # A context manager made by a decorator can be called too, but that means another thing.
    value: Any = source
    if not isinstance(source, type | AbstractAsyncContextManager) and callable(source):
        value = source()
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, AbstractAsyncContextManager):
        value = await stack.enter_async_context(cast("AbstractAsyncContextManager[Any]", value))
    if isinstance(value, str | bytes | type) or not isinstance(value, Iterable):
        raise LoadError(
            f"{_describe(value)} is not a sequence of jobs, such as [{_example(value)}]"
        )
    return [_checked(job) for job in cast("Iterable[object]", value)]


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
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise LoadError(
                f"There is no module {error.name!r} in {here} or in the installed packages. "
                "Run this where it can be imported, or install it."
            ) from error
        raise LoadError(_broken(name, error)) from error
    except Exception as error:
        raise LoadError(_broken(name, error)) from error


def _broken(name: str, error: Exception) -> str:
    """Where in the user's files it happened; the frames of the import itself say nothing."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame)]
    where = "".join(traceback.format_list(frames)).rstrip()
    what = "".join(traceback.format_exception_only(error)).rstrip()
    return f"{name} cannot be imported:\n" + "\n".join(filter(None, (where, what)))


def _is_users(frame: traceback.FrameSummary) -> bool:
    internal = frame.filename == __file__ or "importlib" in frame.filename
    return not internal and not frame.filename.startswith("<frozen")


def _similar(value: object) -> str:
    from difflib import get_close_matches

    public = [name for name in dir(value) if not name.startswith("_")]
    likely = [name for name in public if "job" in name.lower()]
    close = get_close_matches("jobs", public) or likely
    return f"; it has {', '.join(close[:3])}" if close else ""
