"""The jobs that a worker knows."""

from collections.abc import Iterator, Sequence

from .definitions import Job
from .errors import DefinitionError
from .protocol import JobRef, JobType, Options, TrackingIdentity
from .questions import Described


class Registry:
    """Checks job instances and finds them by type and name.

    Raises:
        DefinitionError: a definition is wrong, or two jobs have one name.
    """

    def __init__(self, jobs: Sequence[Job], identity: TrackingIdentity | None) -> None:
        self._jobs: dict[str, Job] = {}
        for job in jobs:
            if not isinstance(job, Job):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(f"{job!r} is no instance of a job class; give RepoDigest()")
            job.check()
            if job.name in self._jobs:
                raise DefinitionError(f"two jobs are named {job.name!r}; rename one")
            self._jobs[job.name] = job
        self._options = {name: job.options(identity) for name, job in self._jobs.items()}

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def find(self, job_type: JobType, name: str) -> Job | None:
        """The job of that type and name, if this worker knows it."""
        job = self._jobs.get(name)
        return job if job is not None and job.job_type == job_type else None

    def options(self, name: str) -> Options:
        """The options of a job this worker knows."""
        return self._options[name]

    def describe(self, ref: JobRef) -> Described:
        """Whether this worker knows a job, and its options."""
        if self.find(ref.job_type, ref.job) is None:
            known = ", ".join(sorted(self._jobs)) or "none"
            return Described(
                known=False,
                message=f"no worker that was asked knows the {ref.job_type} job {ref.job!r}; "
                f"the last one knows: {known}. Start a worker with it.",
            )
        return Described(known=True, options=self._options[ref.job])
