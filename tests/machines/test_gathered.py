"""What a debounce has gathered: nothing is lost or doubled by cuts, folds, failures and travel."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from durable_jobs.protocol import JobRef
from durable_jobs.questions import Folded, Rejected
from durable_jobs.values import JSON, dumps
from durable_jobs.workflows.machines import gathered as module
from durable_jobs.workflows.machines.gathered import Gathered
from durable_jobs.workflows.machines.texts import EventText, values_of
from durable_jobs.workflows.machines.window import Rules

NOW = datetime(2026, 5, 4, tzinfo=UTC)
REF = JobRef(job_type="debounce", job="digest", key="k")
RULES = Rules(flush_after=5, most_bytes=20)


def _numbers(found: Gathered) -> list[int]:
    """All events in it, in the order in which they are to be flushed."""
    ahead = _numbers(found.ahead) if found.ahead else []
    values: list[JSON] = values_of(found.events)
    return [*ahead, *(found.base or []), *(value["data"] for value in values)]


def test_an_id_is_taken_once_in_a_window() -> None:
    found = Gathered()
    assert found.add(EventText.of(1, "a"), NOW)
    assert not found.add(EventText.of(2, "a"), NOW)
    taken, left = found.take("timeout", Rules())
    assert _numbers(taken) == [1]
    assert left.add(EventText.of(3, "a"), NOW)


def test_a_flush_takes_the_oldest_events_that_have_room_and_leaves_the_rest_due() -> None:
    found = Gathered()
    for number in range(10, 40):
        found.add(EventText.of(number), NOW)
    taken, left = found.take("timeout", RULES)
    assert _numbers(taken) == list(range(10, 20))
    assert _numbers(left) == list(range(20, 40))
    assert left.due(RULES, paused=False) == "timeout"


@pytest.mark.parametrize("seed", range(30))
def test_every_event_is_flushed_once_in_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLD_EVENTS", 4)
    chance, found = random.Random(seed), Gathered()
    number, rejected = 0, 0
    flushed: list[int] = []
    flying: Gathered | None = None
    for _ in range(600):
        match chance.randrange(6):
            case 0 | 1 | 2:
                number += 1
                found.add(EventText.of(number), NOW + timedelta(seconds=number))
            case 3 if found.window is not None and found.to_fold.events:
                folding = found.to_fold
                request = folding.fold_request(REF)
                values = [event["data"] for event in request.events]
                unlucky = [n for n, value in enumerate(values) if value % 7 == 0]
                rejected += len(unlucky)
                state = [*(request.state or []), *(v for v in values if v % 7)]
                answer = Folded(
                    state=state or None,
                    has_state=bool(state),
                    rejected=[Rejected(index=n, reason="unlucky") for n in unlucky],
                )
                folding.apply_fold(folding.asked, answer)
            case 4 if flying is None and found.window is not None:
                flying, found = found.take("timeout", Rules(most_bytes=chance.choice([None, 30])))
            case 5 if flying is not None:
                if chance.random() < 0.5:
                    found = flying.before(found, keep_window=chance.random() < 0.5)
                    found.open(NOW)
                else:
                    flushed += _numbers(flying)
                flying = None
            case _:
                found = Gathered.of(found.carry())
                assert dumps(Gathered.of(found.carry()).carry()) == dumps(found.carry())
        waiting = [*(_numbers(flying) if flying else []), *_numbers(found)]
        assert found.count == len(_numbers(found))
        assert len(flushed) + len(waiting) + rejected == number
        assert flushed + waiting == sorted({*flushed, *waiting})
