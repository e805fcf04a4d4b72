"""Jobs in a FastAPI or Starlette app: one client for the app, and dependencies that give it.

app = FastAPI(lifespan=jobs_lifespan)

@app.post("/push")
async def push(event: Push, jobs: Jobs) -> None:
    await jobs.debounce(Digest, event.repository).add(event)
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.requests import HTTPConnection

from ..client import JobClient
from ..errors import JobsError
from ..sync import SyncJobClient

__all__ = ["Jobs", "SyncJobs", "jobs_lifespan", "jobs_of", "sync_jobs_of"]

_KEY = "durable_jobs"


@asynccontextmanager
async def jobs_lifespan(app: FastAPI) -> AsyncGenerator[dict[str, JobClient]]:
    """The lifespan of an app whose requests use jobs.

    It connects with the first call, so the app starts while Temporal is down. From a lifespan of
    your own: `async with jobs_lifespan(app) as jobs: yield {**jobs, "more": …}`.
    """
    async with JobClient.connect(lazy=True) as jobs:
        yield {_KEY: jobs}


async def jobs_of(connection: HTTPConnection) -> JobClient:
    """The app's client. In tests, put another one in: `app.dependency_overrides[jobs_of]`.

    Raises:
        JobsError: the app was made without `jobs_lifespan`.
    """
    jobs = getattr(connection.state, _KEY, None)
    if not isinstance(jobs, JobClient):
        raise JobsError(
            "This app has no JobClient. Make it with FastAPI(lifespan=jobs_lifespan); where the "
            "lifespan is your own, yield what jobs_lifespan gives."
        )
    return jobs


Jobs = Annotated[JobClient, Depends(jobs_of)]
"""The client, as a parameter of an `async def` endpoint."""


async def sync_jobs_of(jobs: Jobs) -> SyncJobClient:
    """The same, blocking."""
    return SyncJobClient.of(jobs)


SyncJobs = Annotated[SyncJobClient, Depends(sync_jobs_of)]
"""The client, as a parameter of a plain `def` endpoint, which FastAPI runs in a thread."""
