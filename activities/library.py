"""The library's own activities: read a definition, judge and fold events, compute due times."""

from collections.abc import Awaitable, Callable

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.cron import CronTimes, fault_of
from durable_jobs.definitions import Job
from durable_jobs.definitions.codec import codec_of
from durable_jobs.definitions.debounce import as_debounce
from durable_jobs.errors import InvalidEvent
from durable_jobs.names import DESCRIBE, FIND_JOB, FOLD, JUDGE, NEXT_DUE
from durable_jobs.protocol import JobRef
from durable_jobs.questions import (
    Folded,
    FoldRequest,
    JudgeRequest,
    NextDue,
    NextDueRequest,
    Rejected,
)
from durable_jobs.registry import Registry
from durable_jobs.ticks import find_next
from durable_jobs.wire import model_from_raw, to_raw

from .failures import titled


class LibraryActivities:
    """What workflows need to know from the definitions of this worker."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @activity.defn(name=DESCRIBE)
    async def describe(self, raw: RawValue) -> RawValue:
        """Whether this worker knows a job, and its options; never fails."""
        return to_raw(self._registry.describe(model_from_raw(JobRef, raw)))

    @activity.defn(name=FIND_JOB)
    async def find_job(self, raw: RawValue) -> RawValue:
        """The same, but fails where the job is unknown, so that another worker is asked."""
        found = self._registry.describe(model_from_raw(JobRef, raw))
        if not found.known:
            raise ApplicationError(found.message or "unknown job", type="UnknownJob")
        return to_raw(found)

    @activity.defn(name=JUDGE)
    async def judge(self, raw: RawValue) -> RawValue:
        """Which of some events do not fit the job's event type."""
        request = model_from_raw(JudgeRequest, raw)
        codec = codec_of(type(self._find(request)))
        events = codec.load_events([event["data"] for event in request.events])
        rejected = [
            Rejected(index=index, reason=str(event))
            for index, event in enumerate(events)
            if isinstance(event, InvalidEvent)
        ]
        return to_raw(Folded(rejected=rejected))

    @activity.defn(name=FOLD)
    async def fold(self, raw: RawValue) -> RawValue:
        """Reduce events into a state."""
        request = model_from_raw(FoldRequest, raw)
        job = as_debounce(self._find(request))
        if job is None:
            raise ApplicationError(f"{request.job} is no debounce job", non_retryable=True)
        try:
            folded = job.fold(
                request.events, request.state, request.has_state, request.state_version
            )
            codec_of(type(job)).limit_state(folded.state, request.key)
        except BaseException as error:
            # The same would happen again: the flush that follows reports it as a failed run.
            raise ApplicationError(titled(error), type="FoldFailed", non_retryable=True) from error
        return to_raw(folded)

    @activity.defn(name=NEXT_DUE)
    async def next_due(self, raw: RawValue) -> RawValue:
        """The next due time of a cron rule, and those that were missed; judges one rule too."""
        request = model_from_raw(NextDueRequest, raw)
        problem = fault_of(request.rule) if request.judge else None
        if problem is not None:
            return to_raw(NextDue(at=request.after, problem=problem))
        return to_raw(find_next(CronTimes(request.rule), request))

    def _find(self, ref: JobRef) -> Job:
        job = self._registry.find(ref.job_type, ref.job)
        if job is None:
            raise ApplicationError(f"this worker does not know {ref.job!r}", type="UnknownJob")
        return job

    def all(self) -> list[Callable[[RawValue], Awaitable[RawValue]]]:
        """The activities, to be registered."""
        return [self.describe, self.find_job, self.judge, self.fold, self.next_due]
