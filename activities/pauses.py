"""Which jobs are paused as a whole, as this worker last heard."""

import asyncio
import logging
from datetime import timedelta

from temporalio import activity
from temporalio.service import RPCError

from durable_jobs.pauses import HEEDED_WITHIN, JobPause, pause_of

logger: logging.Logger = logging.getLogger(__name__)

_PATIENCE = timedelta(seconds=2)


class Pauses:
    """Asks the server at most once a second for each job, and only when a run is to begin."""

    def __init__(self) -> None:
        self._answers: dict[str, JobPause | None] = {}
        self._good_until: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def of(self, job: str) -> JobPause | None:
        """The pause of a job; as it was last known where the server does not say."""
        async with self._asking.setdefault(job, asyncio.Lock()):
            now = asyncio.get_running_loop().time()
            if now >= self._good_until.get(job, now):
                await self._ask(job)
                self._good_until[job] = now + HEEDED_WITHIN
        return self._answers.get(job)

    async def _ask(self, job: str) -> None:
        try:
            self._answers[job] = await pause_of(activity.client(), job, _PATIENCE)
        except RPCError as error:
            logger.debug("Whether %s is paused is not known: %s", job, error)
