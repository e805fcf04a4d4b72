"""How a command reaches Temporal, and how it ends where it cannot do what it was asked to."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .leave import complain, leave

if TYPE_CHECKING:
    from ..handles.connection import Connection

FAILED, WRONG_INPUT, NOT_FOUND, NO_ANSWER = 1, 2, 3, 4
"""Exit codes: the server or the instance refused; wrong arguments; none is there (alive); no worker
answers."""

_INTERRUPTED: Final = 130


class Trouble(Exception):
    """What a command could not do, in words, with its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def run(command: Coroutine[Any, Any, int]) -> NoReturn:
    """Do what a command is to do, and end the process with the code that it gives."""
    try:
        code = asyncio.run(_told(command))
    except KeyboardInterrupt:
        code = _INTERRUPTED
    leave(code)


async def _told(command: Coroutine[Any, Any, int]) -> int:
    from ..errors import JobsError

    try:
        return await command
    except Trouble as trouble:
        complain(trouble)
        return trouble.code
    except JobsError as error:
        complain(error)
        return _code_of(error)


def _code_of(error: Exception) -> int:
    from ..errors import (
        DefinitionError,
        InvalidArgument,
        InvalidEvent,
        InvalidKey,
        InvalidSettings,
        InvalidState,
        NoWorker,
    )
    from ..loading import LoadError

    wrong = (DefinitionError, InvalidArgument, InvalidEvent, InvalidKey, InvalidSettings,
             InvalidState, LoadError)  # fmt: skip
    if isinstance(error, wrong):
        return WRONG_INPUT
    return NO_ANSWER if isinstance(error, NoWorker) else FAILED


async def reach(timeout: timedelta) -> "Connection":
    """The way to Temporal as TEMPORAL_* and its profile file say; raises `TemporalUnreachable`."""
    from ..connection import connect
    from ..handles.connection import Connection
    from ..link import Link
    from ..settings import load_settings

    link = Link(await connect(timeout=timeout))
    return Connection(link, load_settings().task_queue)
