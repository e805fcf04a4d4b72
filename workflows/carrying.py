"""What continue-as-new carries, when it is due, and whether it can be."""

from typing import Any

from temporalio import workflow

from durable_jobs.protocol import Detail
from durable_jobs.wire import size, to_raw

from .instance import CARRIED_BYTES, Carry, Life
from .runner import Runner
from .runs import Run

MAX_SIGNALS = 5_000
CROWDED_SIGNALS = 8_000
"""The server refuses them beyond 10,000."""

MOST_CARRIED = 1900 * 1024
"""What came since continue-as-new was decided may come on top of that."""


class Carrying(Runner):
    """An instance whose life goes on from one run of its workflow to the next."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._signals: int = 0
        self._too_heavy_at: int | None = None
        """After so many signals there was too much for continue-as-new."""

        self._weighed: tuple[object, bool] = (None, True)
        self.run_kept: Run | None = self.carried.run if self.carried else None
        self._callers_reason: str | None = None
        extra = self.carried.extra if self.carried else {}
        if "condemned" in extra:
            self._condemn(extra["condemned"], extra["reason"])

    def should_continue_as_new(self) -> bool:
        """Whether this run's history is long enough."""
        long = self.history_is_long or self._signals > MAX_SIGNALS
        return long and self._too_heavy_at != self._signals

    def is_crowded(self) -> bool:
        """Whether this run's history is so long that an attempt has to make way."""
        return self.history_is_crowded or self._signals > CROWDED_SIGNALS

    def is_full(self, run: Run) -> bool:
        """See base class."""
        return self.history_nears_its_end and self.run_fits(run)

    def carry_extra(self) -> Detail:
        """What the job type carries through continue-as-new beside the common part."""
        return {}

    def fresh_extra(self) -> Detail | None:
        """What reached the instance after its end was decided; None where nothing did."""
        return None

    def _fresh(self) -> Detail | None:
        extra = self.fresh_extra()
        if not self.ending.condemned:
            return extra
        return {**(extra or {}), "condemned": self.ending.condemned, "reason": self._callers_reason}

    def fresh_fits(self) -> bool:
        """Whether continue-as-new can carry what reached the instance after its end."""
        return self.waiting_fits()

    def waiting_fits(self) -> bool:
        """Whether continue-as-new can carry what waits."""
        return True

    def begin_anew(self) -> None:
        """Begin a fresh life in this run, with more than continue-as-new can carry."""
        condemned = self.ending.condemned
        self.reset_life()
        if condemned:
            self._condemn(condemned, self._callers_reason)

    def _condemn(self, events: int, reason: str | None) -> None:
        self.ending.condemned = events
        self.ending.asked, self.ending.reason = True, reason

    def _continue_as_new(self, life: Life | None, extra: Detail) -> None:
        carry = self._carry_of(life, extra, self.run_kept if life is not None else None)
        workflow.continue_as_new(to_raw(self._start_with(carry)))

    def _carry_of(self, life: Life | None, extra: Detail, run: Run | None) -> Carry:
        return Carry(
            options=self.options,
            outbox=self.outbox.carry(),
            life=life,
            run=run,
            waiting=self.waiting_events(),
            extra=extra,
        )

    def _start_with(self, carry: Carry) -> Detail:
        return {**self.ref.model_dump(exclude={"job_type"}), "carry": carry.model_dump(mode="json")}

    def run_fits(self, run: Run) -> bool:
        """Whether continue-as-new can carry the instance with the run that is under way."""
        # Weighing takes its time: not at each of many signals.
        if not self.waiting_fits():
            return False
        known = (run.key, run.attempt, self._signals // 100, self.outbox.weight)
        if self._weighed[0] != known:
            carry = self._carry_of(self.life, self.least_extra(run), run)
            self._weighed = known, size(self._start_with(carry)) <= CARRIED_BYTES
        return self._weighed[1]

    def weigh_again(self) -> None:
        """What continue-as-new would carry has become less."""
        self._weighed = None, True

    def least_extra(self, run: Run) -> Detail:
        """What the job type carries once room is made."""
        return self.carry_extra()

    def _lets_go(self) -> bool:
        """Whether continue-as-new still can be, after what came since it was decided."""
        if self.run_kept is not None and self.run_kept.place in self.told:
            return False
        carry = self._carry_of(self.life, self.carry_extra(), self.run_kept)
        if size(self._start_with(carry)) <= MOST_CARRIED:
            return True
        self._too_heavy_at = self._signals
        return False
