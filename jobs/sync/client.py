"""The blocking client."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Self, Unpack

from temporalio.client import Client

from ..arguments import check_kind, check_time
from ..client import DEFAULT_TASK_QUEUE, JobClient, from_environment
from ..definitions import Job
from ..handles.limits import ANSWER_TIME
from ..link import Connect
from ..many.acting import BulkResult
from ..many.fleet import BulkOptions, Which
from ..status import JobStatus
from .background import Wait, each, wait
from .making import MakesHandles


class SyncJobClient(MakesHandles):
    """A `JobClient` that blocks: for threads, Django, Flask, Celery and scripts.

    May be used from any number of threads, and in forked processes if no call was made before. All
    such clients of a process share one event loop, in a thread that starts with the first call. In
    a thread that runs an event loop of its own, each call raises `JobsError`.
    """

    def __init__(self, client: Client | Connect, task_queue: str = DEFAULT_TASK_QUEUE) -> None:
        """A Temporal client of your own, or an async function that connects one.

        The function is called with the first call, so it suits processes that are to fork.

        Raises:
            InvalidArgument: `client` is neither, or `task_queue` no name.
        """
        self._jobs = JobClient(client, task_queue)

    @classmethod
    def of(cls, jobs: JobClient) -> Self:
        """A `JobClient` made blocking: `SyncJobClient.of(run.jobs)` in a plain handler."""
        check_kind(jobs, JobClient, "SyncJobClient.of: jobs", "run.jobs")
        made = cls.__new__(cls)
        made._jobs = jobs
        return made

    @classmethod
    def connect(cls, timeout: timedelta = timedelta(seconds=10), *, lazy: bool = False) -> Self:
        """Connect as TEMPORAL_* and Temporal's profile file say.

        `with SyncJobClient.connect() as jobs` closes the client at the end. `lazy` connects with
        the first call instead, which then raises what this would.

        Raises:
            TemporalUnreachable: nothing answered within `timeout`; names the address.
        """
        if not lazy:
            return cls.of(wait(JobClient.connect(timeout)))
        # It starts no thread: the process may be about to fork.
        check_time(timeout, "SyncJobClient.connect: timeout")
        return cls(*from_environment(timeout))

    def close(self) -> None:
        """Let go of the connection. Handles of this client raise `JobsError` from then on.

        A Temporal client that was given stays open for others.
        """
        wait(self._jobs.close())

    def _calls(self) -> tuple[JobClient, Wait]:
        return self._jobs, wait

    # -- many instances -------------------------------------------------------------------------

    def list(
        self,
        job: type[Job] | None = None,
        *,
        timeout: timedelta = ANSWER_TIME,
        **which: Unpack[Which],
    ) -> Iterator[JobStatus]:
        """The status of each instance that is meant, of one job or all, as their answers come.

        `for status in jobs.list(RepoDigest, status="paused", key_prefix="octocat/")`.
        """
        return each(self._jobs.list(job, timeout=timeout, **which))

    def pause_all(
        self, job: type[Job] | None, note: str | None = None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """Pause all instances that are meant: of a job, or of all where it is None.

        A function that is `told` of the progress is called in another thread.
        """
        return wait(self._jobs.pause_all(job, note, **options))

    def resume_all(
        self, job: type[Job] | None, note: str | None = None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """Resume all paused instances that are meant."""
        return wait(self._jobs.resume_all(job, note, **options))

    def trigger_all(self, job: type[Job] | None, **options: Unpack[BulkOptions]) -> BulkResult:
        """Trigger all instances that are meant."""
        return wait(self._jobs.trigger_all(job, **options))

    def flush_all(self, job: type[Job] | None, **options: Unpack[BulkOptions]) -> BulkResult:
        """Flush all instances that are meant and have events."""
        return wait(self._jobs.flush_all(job, **options))

    def clear_all(self, job: type[Job] | None, **options: Unpack[BulkOptions]) -> BulkResult:
        """Drop what waits in all instances that are meant."""
        return wait(self._jobs.clear_all(job, **options))

    def redrive_all(self, job: type[Job] | None, **options: Unpack[BulkOptions]) -> BulkResult:
        """Queue again what failed in all instances that are meant."""
        return wait(self._jobs.redrive_all(job, **options))

    def terminate_all(
        self, job: type[Job] | None, reason: str | None = None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """End all instances that are meant."""
        return wait(self._jobs.terminate_all(job, reason, **options))
