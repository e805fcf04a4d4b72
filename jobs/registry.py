"""The jobs that a worker knows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from .arguments import shown
from .definitions import Job
from .errors import DefinitionError
from .protocol import JobRef, JobType, Options, TrackingIdentity
from .questions import Described


class Registry:
    """Checks job instances and finds them by type and name.

    Raises:
        DefinitionError: a definition is wrong, two jobs have one name, or none is given.
    """

    def __init__(self, jobs: Sequence[Job], identity: TrackingIdentity | None) -> None:
        self._jobs: dict[str, Job] = {}
        for job in _listed(jobs):
            job.check()
            if job.name in self._jobs:
                both = f"{_class_of(self._jobs[job.name])} and {_class_of(job)}"
                raise DefinitionError(f"two jobs are named {job.name!r}: {both}; rename one")
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


def _class_of(job: Job) -> str:
    return f"{type(job).__module__}.{type(job).__qualname__}"


def _listed(jobs: object) -> list[Job]:
    """Jobs as they were given; raises `DefinitionError` where they are none."""
    text = shown(jobs)
    listed = list(cast("Iterable[object]", jobs)) if isinstance(jobs, Iterable) else None
    if listed is None or isinstance(jobs, str):
        raise DefinitionError(f"jobs are a list of job instances, not {text}")
    if not listed:
        raise DefinitionError("no jobs are given: a worker needs at least one job instance")
    return [_judged(job) for job in listed]


def _judged(job: object) -> Job:
    if isinstance(job, Job):
        return job
    text, name = shown(job), getattr(job, "__name__", "")
    hint = f": give {name}()" if isinstance(job, type) and issubclass(job, Job) else ""
    raise DefinitionError(f"{text} is no instance of a job class{hint}")
