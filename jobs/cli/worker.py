"""`durable-jobs worker`."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from ..errors import DefinitionError, InvalidSettings, JobsError
from ..loading import LoadError, load_jobs, opened
from .leave import complain, leave
from .logs import forward_core_logs, print_at_once

WRONG_INPUT = 2


def work(
    references: Sequence[str], task_queue: str | None, metrics: str | None, grace: timedelta
) -> NoReturn:
    """Run the worker and end the process.

    Its code is 0 after an orderly end, 2 where jobs or settings are wrong, else 1.
    """
    print_at_once()
    if metrics is None:
        # Else the runtime that serves them does this.
        forward_core_logs()
    asyncio.run(_work(references, task_queue, metrics, grace))
    raise AssertionError("leave() does not return")


async def _work(
    references: Sequence[str], task_queue: str | None, metrics: str | None, grace: timedelta
) -> NoReturn:
    code = await _code(references, task_queue, metrics, grace)
    # Not after `asyncio.run`, which would wait for threads that take no notice of their end.
    leave(code)


async def _code(
    references: Sequence[str], task_queue: str | None, metrics: str | None, grace: timedelta
) -> int:
    try:
        sources = [load_jobs(reference) for reference in references]
        # After the user's modules: what is wrong there shows sooner.
        from ..worker import run_worker

        await run_worker(opened(*sources), task_queue=task_queue, metrics=metrics, grace=grace)
    except (LoadError, DefinitionError, InvalidSettings) as error:
        complain(error)
        return WRONG_INPUT
    except (JobsError, RuntimeError) as error:
        complain(f"the worker ended: {error}")
        return 1
    return 0
