"""All instances that a caller of the client means."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

from ..arguments import check_name, check_text, check_time
from ..errors import NoWorker
from ..handles.connection import Connection
from ..handles.limits import ANSWER_TIME
from ..status import JobStatus
from .acting import DEFAULT_RATE, BulkResult, Order, Told, plan_for
from .finding import Finder
from .selection import Selection, Which
from .whole_job import tell_job


class BulkOptions(Which, total=False):
    """What `pause_all` and its like take beside a job."""

    rate: float
    """Instances a second."""

    timeout: timedelta
    """For the answer of one instance."""

    operation: str
    """Names what is done: instances heed two calls of one verb and one operation once."""

    told: Told
    """Is called after each instance with what came of all so far."""


class Fleet:
    """All instances that are meant."""

    def __init__(self, connection: Connection, job: object, which: Which) -> None:
        """Raises `InvalidArgument` where a word of `which` is none."""
        bulk = BulkOptions.__annotations__.keys() - Which.__annotations__.keys()
        words = {name: word for name, word in which.items() if name not in bulk}
        self._connection = connection
        self._selection = Selection.of(job, cast("Which", words))

    async def statuses(self, timeout: timedelta) -> AsyncIterator[JobStatus]:
        """What each does; raises `NoWorker` at the end where some did not say."""
        check_time(timeout, "list: timeout")
        finder = Finder(self._connection, timeout)
        silent: list[str] = []
        async for seen in finder.meant(self._selection, await finder.named(self._selection)):
            if seen.status is None:
                silent.append(f"{seen.found.id} ({seen.problem})")
            else:
                yield JobStatus.model_validate(seen.status)
        if silent:
            raise NoWorker(f"{len(silent)} instances gave no answer, the first: {silent[0]}")

    async def tell(self, verb: str, text: str | None, options: BulkOptions) -> BulkResult:
        """Tell all of them something."""
        check_text(text, f"{verb}_all: the text")
        selection = self._selection.taking(verb)
        timeout = options.get("timeout", ANSWER_TIME)
        order = Order(
            self._connection,
            verb,
            [] if text is None else [text],
            rate=options.get("rate", DEFAULT_RATE),
            timeout=timeout,
            operation=self._operation(verb, options),
        )
        finder = Finder(self._connection, timeout)
        # First: of the instances that begin meanwhile, none is forgotten.
        job = await tell_job(self._connection, self._selection, verb, text)
        plan = await plan_for(finder, selection, verb, await finder.named(selection))
        result = await order.give(plan, options.get("told", lambda _: None))
        result.job = job
        return result

    def _operation(self, verb: str, options: BulkOptions) -> str | None:
        """The name of the operation; that of a run's calls comes from the run."""
        given, once = options.get("operation"), self._connection.once
        if given is not None:
            check_name(given, f"{verb}_all: operation")
            return f"{given}:{verb}"
        return None if once is None else once.next_id("all", verb)
