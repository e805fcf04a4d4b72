"""`durable-jobs worker`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from ..definitions import Job
from ..errors import DefinitionError, InvalidSettings, JobsError
from ..loading import LoadError, load_jobs, opened
from .leave import complain, leave
from .logs import Levels, forward_core_logs, print_at_once, set_levels_of_jobs

WRONG_INPUT = 2


@dataclass(frozen=True)
class Plan:
    """The options of the command."""

    jobs: tuple[str, ...]
    task_queue: str | None
    metrics: str | None
    health: str | None
    grace: timedelta
    levels: Levels


def work(plan: Plan) -> NoReturn:
    """Run the worker and end the process.

    Its code is 0 after an orderly end, 2 where jobs or settings are wrong, else 1.
    """
    print_at_once()
    if plan.metrics is None:
        # Else the runtime that serves them does this.
        forward_core_logs()
    asyncio.run(_work(plan))
    raise AssertionError("leave() does not return")


async def _work(plan: Plan) -> NoReturn:
    code = await _code(plan)
    # Not after `asyncio.run`, which would wait for threads that take no notice of their end.
    leave(code)


@asynccontextmanager
async def _with_levels(
    source: AbstractAsyncContextManager[list[Job]], levels: Levels
) -> AsyncGenerator[list[Job]]:
    """The jobs, once each of them logs as it was told."""
    async with source as jobs:
        set_levels_of_jobs(levels, (job.name for job in jobs))
        yield jobs


async def _code(plan: Plan) -> int:
    try:
        sources = [load_jobs(reference) for reference in plan.jobs]
        # After the user's modules: what is wrong there shows sooner.
        from ..worker import run_worker

        await run_worker(
            _with_levels(opened(*sources), plan.levels),
            task_queue=plan.task_queue,
            metrics=plan.metrics,
            health=plan.health,
            grace=plan.grace,
        )
    except (LoadError, DefinitionError, InvalidSettings) as error:
        complain(error)
        return WRONG_INPUT
    except (JobsError, RuntimeError) as error:
        complain(f"the worker ended: {error}")
        return 1
    return 0
