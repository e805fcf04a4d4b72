"""What the workflows of all job types share: how they are reached, live and end."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.names import (
    BUSY,
    DESCRIBE,
    ENDING,
    FIND_JOB,
    JUDGE,
    OUTBOX_QUERY,
    OUTCOME_SIGNAL,
    REPORT_SIGNAL,
)
from durable_jobs.protocol import Report, RunResult
from durable_jobs.questions import (
    Described,
    DescribeRequest,
    Folded,
    JudgeRequest,
    Opening,
    Rejected,
)
from durable_jobs.wire import JSON, model_from_raw, to_raw

from . import runs
from .away import read_outcome
from .carrying import Carrying
from .flush import Flusher
from .inputs import BadInput, read_batch, read_note, read_nothing, read_reason
from .library import call, call_anywhere, call_local
from .texts import EventText, values_of

REFUSED_BYTES = 25 * 1024 * 1024
REFUSED_EVENTS = 40_000
"""An update that brings events is refused from there on; a signal cannot be."""

_MANY_SIGNALS = 20
_A_MOMENT = timedelta(milliseconds=1)
Args = Sequence[RawValue]


class JobWorkflow(Carrying):
    """Base of the three workflows. It runs no user code and reads no setting."""

    bare: ClassVar[frozenset[str]] = frozenset()
    """Verbs that take no argument."""

    bringing: ClassVar[frozenset[str]] = frozenset()
    """Updates that bring events."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.flusher: Flusher = Flusher(self.outbox, lambda: self.task)
        self.local_turn: asyncio.Lock = asyncio.Lock()
        """Held while a local activity is under way."""

        self._let_in: int = 0

    # -- entries

    @workflow.signal(dynamic=True)
    def _on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        self.receive(name, args)

    @workflow.update(dynamic=True)
    async def _on_update(self, name: str, args: Sequence[RawValue]) -> RawValue:
        self.touch()
        try:
            return to_raw(await self.handle_update(name, args))
        except BadInput as error:
            raise ApplicationError(str(error), type="InvalidEvent", non_retryable=True) from error

    @_on_update.validator
    def _check_update(self, name: str, args: Sequence[RawValue]) -> None:
        if name in self.bringing and self._is_packed():
            why = "the history of its run has no room for more events; try again later"
            raise ApplicationError(why, type=BUSY, non_retryable=True)
        try:
            self.check_update(name, args)
        except BadInput as error:
            raise ApplicationError(str(error), type="InvalidEvent", non_retryable=True) from error

    def _is_packed(self) -> bool:
        info = workflow.info()
        length, size_ = info.get_current_history_length(), info.get_current_history_size()
        return size_ > REFUSED_BYTES or length > REFUSED_EVENTS

    @workflow.query(name="status")
    def _on_status(self) -> RawValue:
        return to_raw(self.status())

    @workflow.query(name="state")
    def _on_state(self) -> RawValue:
        return to_raw(self.state_answer())

    @workflow.query(name=OUTBOX_QUERY)
    def _on_outbox(self) -> RawValue:
        """For `reconcile`, of an instance that was ended from outside."""
        return to_raw(self.leftover())

    def receive(self, name: str, args: Args) -> None:
        """Entry of all signals; never raises, whatever was sent."""
        self._signals += 1
        self.touch()
        if name in (REPORT_SIGNAL, OUTCOME_SIGNAL):
            self._receive_news(name, args)
            return
        try:
            if name in self.bare:
                read_nothing(args)
            self.handle_signal(name, args)
        except BadInput as error:
            self.on_bad_signal(name, error)
        self.show()

    def _receive_news(self, name: str, args: Args) -> None:
        """What attempts say of themselves."""
        try:
            if name == REPORT_SIGNAL:
                self.report(model_from_raw(Report, args[0]))
            else:
                self.outcome_came(*read_outcome(args))
        except (ValueError, IndexError):
            workflow.logger.warning("Ignored a signal %s that is none", name)

    # -- the life

    async def main(self) -> RawValue:
        """The whole run of the workflow."""
        if self.problem is not None:
            raise ApplicationError(self.problem, type="InvalidStart", non_retryable=True)
        life = asyncio.create_task(self._live())
        while not life.done():
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                self.touch()
                self.request_terminate("cancelled")
        return life.result()

    async def _live(self) -> RawValue:
        await self._learn_options()
        while True:
            if self.options is None:
                # Nothing ran and nothing is told: no worker said whether events are tracked.
                self.ending.status = "terminated"
                self.ending.count_condemned()
            elif await self._live_on():
                self._continue_as_new(self.life, self.carry_extra())
            await self._wind_up()
            fresh = self._fresh()
            reopened = fresh is not None or self.terminating
            if self.ended == "completed" and reopened and not self.ending.planned:
                # Nothing was cut short: the same life goes on with what came while it ended.
                self.ending.status = None
            elif fresh is None:
                return self._finished()
            elif self.fresh_fits():
                self._continue_as_new(None, fresh)
            else:
                self.begin_anew()
                await self._learn_options()

    async def _live_on(self) -> bool:
        """Returns True to continue as new."""
        self.flusher.start()
        while await self.live():
            await self._settle_handlers()
            await self.flusher.stop()
            # What a caller asked for meanwhile would be cut short.
            settled = workflow.all_handlers_finished()
            if not self.terminating and settled and self._lets_go():
                return True
            self.flusher.start()
        return False

    def _finished(self) -> RawValue:
        self.show()
        if self.failure is not None:
            raise ApplicationError(
                self.ending.reason or "failed", type="RetryExhausted", non_retryable=True
            ) from self.failure.cause
        return to_raw(self.result())

    async def _wind_up(self) -> None:
        self.flusher.end()
        while True:
            await self._settle_handlers()
            await self.flusher.finish()
            if workflow.all_handlers_finished():
                return

    async def _settle_handlers(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)

    @abstractmethod
    async def live(self) -> bool:
        """Do the job's work. Returns True to continue as new, False at the life's end."""

    async def wait(
        self, condition: Callable[[], bool], until: datetime | None = None, what: str = ""
    ) -> None:
        """Wait for a condition, or a time; before a long wait, tracking events are sent."""
        self.tell_pauses()
        self.flusher.before_wait(self.now, until)
        await super().wait(condition, until, what)
        self.flusher.after_wait()

    async def execute(self, run: runs.Run, summary: str) -> runs.Ended:
        """See base class."""
        self.tell_pauses()
        self.flusher.before_run()
        ended = await super().execute(run, summary)
        self.flusher.delivers = isinstance(ended, runs.Succeeded) and ended.result.delivers
        return ended

    async def _learn_options(self) -> None:
        """Ask for the options; an instance that is to end does not wait for a worker to know."""
        if self.options is not None:
            return
        opening = self.opening()
        request = DescribeRequest(**self.ref.model_dump(), opening=opening)
        found = await call_local(DESCRIBE, request, Described)
        if found is None or not found.known:
            self.life.last_error = found.message if found else "no worker could read the job"
            self.show()
            found = await self.find_worker()
        if found is None:
            return
        self.adopt(found.options)
        if opening is not None:
            self.tell_opening(opening)
            self.flusher.note(found.verdicts)

    def opening(self) -> Opening | None:
        """The window that the instance begins with."""
        return None

    def tell_opening(self, opening: Opening) -> None:
        """Emit its event, whatever became of it meanwhile: it may have been sent."""

    async def find_worker(self) -> Described | None:
        """Wait until a worker of the queue knows the job; None where something else comes first."""
        asking = asyncio.create_task(
            call_anywhere(FIND_JOB, self.ref, Described, "find a worker with the job")
        )
        run = self.run_now
        await workflow.wait_condition(
            lambda: asking.done() or self.terminating or (run is not None and self.carries(run))
        )
        self.touch()
        if not asking.done():
            asking.cancel()
            return None
        self.life.last_error = None
        return asking.result()

    async def let_signals_in(self) -> None:
        """Between local activities: while one is under way the server keeps signals back.

        Too many at once take longer than a workflow task may.
        """
        if self._signals - self._let_in < _MANY_SIGNALS:
            return
        known = self._let_in = self._signals
        try:
            await workflow.wait_condition(
                lambda: self._signals != known,
                timeout=_A_MOMENT,
                timeout_summary="let signals in",
            )
        except TimeoutError:
            self.touch()

    # -- what callers ask for

    def request_terminate(self, reason: str | None) -> None:
        """Begin to end the life. What waits is dropped and counted; later events open a fresh one.

        Where a run has ended the life already, the fresh one reports what was dropped.
        """
        self.ending.condemned += self.discard_waiting()
        self._callers_reason = reason
        if not self.terminating and self.ended in (None, "completed"):
            self.ending.asked, self.ending.reason = True, reason

    def end_by_run(self, result: RunResult) -> None:
        """End the life where its run asked for it; what waits opens a fresh one.

        Nobody asked for those events to be dropped. A run's end stands in history before a caller's
        `terminate` that came with it.
        """
        if result.terminate:
            self.ending.asked, self.ending.reason = True, result.terminate_reason
            self.ending.at = self.done_at

    def discard_waiting(self) -> int:
        """Drop the events that wait; returns how many."""
        return 0

    def pause(self, note: str | None = None) -> None:
        """Start nothing new until resumed. The note says who and why."""
        self.life.pause("user", self.now, note)

    def resume(self, note: str | None = None) -> None:
        """Go on."""
        self.life.resume(self.now, note)

    def handle_signal(self, name: str, args: Args) -> None:
        """Take any signal; raises nothing but `BadInput`."""
        match name:
            case "pause":
                self.pause(read_note(args))
            case "resume":
                self.resume(read_note(args))
            case "terminate":
                self.request_terminate(read_reason(args))
            case _:
                workflow.logger.warning("Ignored the unknown signal %r", name)

    async def handle_update(self, name: str, args: Args) -> JSON:
        """Answer any update that `check_update` let pass."""
        self.handle_signal(name, args)
        return {"status": self.status_word()}

    def check_update(self, name: str, args: Args) -> None:
        """Refuse an update by raising `BadInput`; leaves no trace in history."""
        if name in self.bare:
            read_nothing(args)
        elif name == "terminate":
            read_reason(args)
        elif name in ("pause", "resume"):
            read_note(args)
        else:
            raise BadInput(f"{self.job_type} jobs take no update {name!r}")

    def events_of(self, name: str, args: Args) -> Iterator[EventText]:
        """The events of a signal of many; those that are none are counted."""
        for item in read_batch(args):
            if isinstance(item, BadInput):
                self.on_bad_signal(name, item)
            else:
                yield item

    def on_bad_signal(self, name: str, error: BadInput) -> None:
        """Count a signal, or an event in it, that had the wrong shape."""
        self.reject(f"{name}: {error}")

    async def judge(self, events: Sequence[EventText], *, each: bool = False) -> list[Rejected]:
        """Ask a worker which events do not fit; raises for one, or with `each` names them."""
        request = JudgeRequest(**self.ref.model_dump(), events=values_of(events))
        asking = asyncio.create_task(call(JUDGE, request, Folded, "judge an update's events"))
        await workflow.wait_condition(lambda: asking.done() or self.terminating)
        if not asking.done():
            asking.cancel()
            why = "the instance is ending; the same again opens a fresh one"
            raise ApplicationError(why, type=ENDING, non_retryable=True)
        rejected = asking.result().rejected
        if rejected and not each:
            raise ApplicationError(rejected[0].reason, type="InvalidEvent", non_retryable=True)
        return rejected
