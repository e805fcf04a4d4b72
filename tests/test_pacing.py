"""Signals that follow one another closely share workflow tasks."""

from durable_jobs.workflows.pacing import CLOSELY, HOLD, Pacer


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def held(self, pacer: Pacer, *, at_once: bool = False) -> float:
        before = self.time
        pacer.answer(at_once=at_once)
        return round(self.time - before, 6)


def test_the_first_signal_in_a_while_is_answered_at_once() -> None:
    clock = Clock()
    pacer = Pacer(clock.sleep, lambda: clock.time)
    assert clock.held(pacer) == 0
    clock.time += 2 * CLOSELY
    assert clock.held(pacer) == 0


def test_those_that_follow_it_closely_are_held() -> None:
    clock = Clock()
    pacer = Pacer(clock.sleep, lambda: clock.time)
    clock.held(pacer)
    for _ in range(3):
        clock.time += CLOSELY / 2
        assert clock.held(pacer) == HOLD


def test_an_answer_with_something_to_do_is_never_held() -> None:
    clock = Clock()
    pacer = Pacer(clock.sleep, lambda: clock.time)
    clock.held(pacer)
    assert clock.held(pacer, at_once=True) == 0
    assert clock.held(pacer) == HOLD
