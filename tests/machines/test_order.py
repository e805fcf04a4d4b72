"""Events are handled in the order in which they came, whatever becomes of them."""

import pytest

from durable_jobs.definitions import Job
from tests.machines.commotion import WORDS, Commotion
from tests.machines.jobs import Careful, Deliver, Lettered, Triage, with_options
from tests.support.scripted_worker import Ran

JOBS: list[Job] = [
    with_options(base, on_exhausted=rule)
    for base in (Triage, Careful, Deliver, Lettered)
    for rule in ("continue", "pause")
]
MOST_ATTEMPTS = 3


@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.name}-{job.on_exhausted}")
def test_no_event_is_begun_before_the_one_that_came_before_it_is_settled(job: Job) -> None:
    words = {word: weight for word, weight in WORDS.items() if word != "end"}
    begun = 0
    for seed in range(25):
        commotion = Commotion(job, seed, words=words, verbs=False)
        commotion.priorities, commotion.names = 1, False
        for _ in range(80):
            commotion.step()
        commotion.calm()
        runs = [run for run in commotion.worker.ran if _is_for_event(run)]
        begun += len(runs)
        _check_order(runs, set(range(1, commotion.number + 1)), job)
    assert begun > 900


def _is_for_event(run: Ran) -> bool:
    return run.handler in ("on_event", "execute") and run.value is not None


def _check_order(runs: list[Ran], unsettled: set[int], job: Job) -> None:
    for run in runs:
        # An activity that was lost with a burst had begun several.
        assert run.word == "lost" or run.value == min(unsettled), run
        failed = run.word == "final" or (
            run.word in ("fail", "later", "lost") and run.attempt >= MOST_ATTEMPTS
        )
        if run.word in ("ok", "refuse") or (failed and job.on_exhausted == "continue"):
            unsettled.discard(run.value)
