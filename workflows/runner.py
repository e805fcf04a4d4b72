"""Makes the runs of an instance: their attempts, one activity after the other."""

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from durable_jobs.protocol import Away, Detail, Outcome
from durable_jobs.questions import Described
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.wire import to_raw

from . import runs
from .away import LOOK_EVERY, Elsewhere, Told
from .recording import Recorder

CANCEL_GRACE = timedelta(seconds=10)
"""How long a cancelled attempt has to end; it hears of the cancellation with a heartbeat."""

LONG_BACKOFF = timedelta(seconds=0.5)
"""With so much of it left, an activity may be cancelled before its next attempt begins."""

_STUCK = "too much waits behind the run for its history to go on; resume makes one more attempt"


class Runner(Recorder, ABC):
    """An instance that runs the user's handlers, in activities."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.held: bool = False
        """Whether its run waits to be told to go on, as no more history can be made."""

        self.told: Told = {}
        self._waits_for_worker = 0

    @property
    def run_shown(self) -> runs.Run | None:
        """The run that is under way, or carried."""
        return self.run_now or self.run_kept

    def new_run(
        self,
        handler: str,
        detail: Detail,
        *,
        deadline: datetime | None = None,
        key: str | None = None,
    ) -> runs.Run:
        """Count a run and mint its idempotency key, where it has none."""
        self.life.run_count += 1
        return runs.Run(
            handler=handler,
            count=self.life.run_count,
            key=key or str(workflow.uuid4()),
            state=self.life.state,
            has_state=self.life.has_state,
            state_version=self.life.state_version,
            detail=detail,
            deadline=deadline,
            outside=self.life.outside,
        )

    def take_up(self, detail: Detail) -> runs.Run | None:
        """The run that came with continue-as-new, made of what came with it; None without one."""
        run, self.run_kept = self.run_kept, None
        if run is None:
            return None
        run.state, run.has_state = self.life.state, self.life.has_state
        run.state_version = self.life.state_version
        run.detail = detail
        return run

    async def execute(self, run: runs.Run, summary: str) -> runs.Ended:
        """Make a run's attempts until one succeeds or the run has failed for good.

        Where it is `Carried`, continue-as-new is due, and `take_up` gives the run afterwards.
        """
        self.run_now = run
        self._waits_for_worker = 0
        try:
            while True:
                ended = await self._rest(run) or await self._attempt(run, summary)
                if ended is not None:
                    return ended
        finally:
            self.run_now = None
            # Outside is for as long as events come in such number.
            self.life.outside = run.outside and (run.carried or self.run_kept is run)

    async def _rest(self, run: runs.Run) -> runs.Ended | None:
        """Between two activities of a run: wait for the rest of a backoff, then end or go on."""
        if run.began_at is None or run.place is not None:
            return None
        if (run.outside or self.is_crowded()) and not self.terminating:
            await self.make_room(run)
        if self._is_stuck(run):
            await self._hold(run)
        elif run.retry_at is not None and run.retry_at > self.now:
            what = f"next attempt {self.ref.key}"
            await self.wait(lambda: self.terminating or self.carries(run), run.retry_at, what)
        if self.terminating:
            return runs.Interrupted()
        return self._let_go(run) if self.carries(run) else None

    def _let_go(self, run: runs.Run) -> runs.Carried:
        run.carry()
        self.run_kept = run
        return runs.Carried()

    async def _hold(self, run: runs.Run) -> None:
        """Make no further attempt until resumed; each one costs history, which has an end."""
        self.held, run.retry_at = True, None
        self.life.last_error = f"{_STUCK}; the last error: {self.life.last_error}"
        self.life.pause("exhausted", self.now, _STUCK)
        await self.wait(lambda: self.terminating or not self.life.paused or self.carries(run))
        self.held = False
        if self.carries(run):
            self.life.resume(self.now, by="exhausted")

    def _is_stuck(self, run: runs.Run) -> bool:
        """Whether continue-as-new is long due, and cannot take the run along."""
        due = self.history_is_full and self.should_continue_as_new()
        return due and not self.terminating and not self.run_fits(run)

    def carries(self, run: runs.Run, backoff: timedelta = timedelta()) -> bool:
        """Whether continue-as-new is due, and can take the run along.

        Before its backoff has that long to go it is due only where there is no room to wait.
        """
        resting = self._rests(run, backoff)
        due = self.should_continue_as_new() if resting else self.is_crowded()
        return due and self.run_fits(run)

    def _rests(self, run: runs.Run, backoff: timedelta) -> bool:
        """Whether so much of a backoff is left."""
        return not backoff or (run.retry_at is not None and run.retry_at - self.now > backoff)

    @abstractmethod
    def should_continue_as_new(self) -> bool:
        """Whether this run's history is long enough."""

    @abstractmethod
    def is_crowded(self) -> bool:
        """Whether this run's history is so long that an attempt has to make way."""

    async def make_room(self, run: runs.Run) -> None:
        """Make what continue-as-new is to carry with the run as small as it can be."""

    @abstractmethod
    def run_fits(self, run: runs.Run) -> bool:
        """Whether continue-as-new can carry the instance with the run that is under way."""

    async def _attempt(self, run: runs.Run, summary: str) -> runs.Ended | None:
        """Make attempts in one activity; None where another one is to go on."""
        match await self._activity(run, summary):
            case runs.Carried() as carried:
                return carried
            case runs.Stopped(reached):
                if reached.report is not None:
                    self.report(reached.report)
                run.reach(reached)
            case runs.Cancelled():
                run.reach_last_report()
            case runs.Unknown(message):
                self.life.last_error = message
                run.reach_last_report()
                return await self._until_known(run)
            case outcome:
                self._record(run, outcome)
                return outcome
        return None

    async def _until_known(self, run: runs.Run) -> runs.Ended | None:
        # An activity that costs no history while no worker knows the job; then a
        # pause, as another that does not may still take the next attempt.
        found = await self.find_worker()
        if found is not None and found.options and run.handler not in found.options.handlers:
            self.adopt(found.options)
            self.life.run_count -= not run.attempts_before
            self.life.last_error = f"the job has no {run.handler} any more; the call is left out"
            return runs.Interrupted()
        self._waits_for_worker += 1
        pause = timedelta(seconds=min(0.1 * 2 ** min(self._waits_for_worker, 8), 5))
        await self.wait(lambda: self.terminating or self.carries(run), self.now + pause)
        return None

    @abstractmethod
    async def find_worker(self) -> Described | None:
        """Wait until a worker of the queue knows the job; None where the life ends first."""

    async def _activity(self, run: runs.Run, summary: str) -> runs.Outcome | runs.Carried:
        activity = await self._activity_of(run, summary)
        self.show()
        await self._until_due(run, activity)
        if not activity.done():
            if run.place is not None and not self.terminating:
                return self._let_go(run)
            run.outside = run.outside or (self.is_crowded() and self.run_fits(run))
            await self._cancel(activity, run)
        self.touch()
        self.outbox.take_back()
        run.place = None
        if not activity.done():
            return runs.Cancelled()
        return await runs.outcome_of(run, activity, self.rules, self.now)

    async def _activity_of(self, run: runs.Run, summary: str) -> runs.Activity:
        """The activity that makes the next attempts, or the one that is under way outside."""
        if run.place is not None:
            return Elsewhere(run.place, self.told)
        if run.outside:
            await self.make_room(run)
        run.attempt, run.retry_at = run.attempts_before + 1, None
        run.began_at = run.began_at or self.now
        run.outbox, run.asked = self.outbox.give(self.now)
        run.alone = run.outside or self._is_stuck(run)
        terms = run.terms(self.ref, self.rules, summary)
        request = to_raw(run.request(self.ref, self.rules))
        if not run.outside:
            return runs.start(terms, request)
        run.place = run.next_place()
        activity = Elsewhere(run.place, self.told)
        instance_id = workflow.info().workflow_id
        await activity.begin(Away(instance_id=instance_id, terms=terms), request)
        return activity

    async def _until_due(self, run: runs.Run, activity: runs.Activity) -> None:
        """Wait until the attempts have ended, or must."""
        if not isinstance(activity, Elsewhere):
            await workflow.wait_condition(
                lambda: activity.done() or self.terminating or self._makes_way(run)
            )
            return
        while not (activity.done() or self.terminating or self.carries(run)):
            try:
                await workflow.wait_condition(
                    lambda: activity.done() or self.terminating or self.carries(run),
                    timeout=LOOK_EVERY,
                    timeout_summary="look after the attempt",
                )
            except TimeoutError:
                self.touch()
                await activity.look()

    def _makes_way(self, run: runs.Run) -> bool:
        """Whether continue-as-new comes first, or the rest of a long backoff is not needed."""
        stuck = self._rests(run, LONG_BACKOFF) and self._is_stuck(run)
        return stuck or self.carries(run, LONG_BACKOFF)

    async def _cancel(self, activity: runs.Activity, run: runs.Run) -> None:
        """Let the attempt end by itself: what it reports stands in history and counts.

        Where continue-as-new is due it may take its time, as long as there is room.
        """
        activity.cancel()
        self.show()
        await workflow.wait_condition(
            lambda: activity.done() or self.terminating or self.is_full(run)
        )
        if activity.done():
            return
        try:
            await workflow.wait_condition(
                activity.done,
                timeout=CANCEL_GRACE,
                timeout_summary="grace time of the last attempt",
            )
        except TimeoutError:
            workflow.logger.warning("An attempt did not end when cancelled; it is left behind")

    @abstractmethod
    def is_full(self, run: runs.Run) -> bool:
        """Whether history has no room for anything, and continue-as-new takes the run along."""

    def outcome_came(self, outcome: Outcome, result: RawValue | None) -> None:
        """Note what was made of an attempt outside; only the one under way is of interest."""
        run = self.run_shown
        if run is not None and run.place == outcome.place:
            self.told[outcome.place] = outcome, result

    # -- answers

    def status_word(self) -> str:
        """The one word that says what the instance does."""
        run = self.run_shown
        if run is None or self.held or self.terminating or self.ended is not None:
            return super().status_word()
        return "retrying" if run.retry_at is not None else "running"

    def status(self) -> Detail:
        """The answer to the query `status`."""
        run = self.run_shown
        return {
            **super().status(),
            "attempt": run.attempt if run else 0,
            "progress": run.progress if run else None,
        }

    def story(self) -> str:
        """What the instance does, in a few words."""
        run = self.run_shown
        if run is None or self.held or self.ended is not None:
            return super().story()
        again = f", again at {iso_ms(run.retry_at)}" if run.retry_at else ""
        return f"{run.handler}, run {run.count}, attempt {run.attempt}{again}"
