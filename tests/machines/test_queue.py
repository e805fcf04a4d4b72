"""The queue of a task or a pool: in order, each once, whatever is taken and put back."""

import heapq
import random
from datetime import UTC, datetime

import pytest

from durable_jobs.workflows.machines.queue import REMEMBERED_IDS, Item, Queue
from durable_jobs.workflows.machines.texts import EventText

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def _values(items: list[Item]) -> list[int]:
    return [item.text.event().data for item in items]


def test_an_id_is_taken_once_while_it_is_remembered() -> None:
    queue = Queue()
    assert queue.put(EventText.of(1, "a"), NOW)
    assert not queue.put(EventText.of(2, "a"), NOW)
    for number in range(REMEMBERED_IDS):
        assert queue.put(EventText.of(number, f"n{number}"), NOW)
    assert queue.put(EventText.of(3, "a"), NOW)


def test_what_was_refused_may_come_again() -> None:
    queue = Queue()
    assert queue.put(EventText.of(1, "a"), NOW)
    queue.take()
    queue.forget("a")
    assert queue.put(EventText.of(1, "a"), NOW)


@pytest.mark.parametrize("seed", range(20))
def test_it_gives_what_a_sorted_list_would(seed: int) -> None:
    chance, queue = random.Random(seed), Queue()
    model: list[tuple[int, int]] = []
    number = 0
    for _ in range(2_000):
        match chance.randrange(6):
            case 0 | 1 | 2:
                number += 1
                priority = chance.randrange(-2, 3)
                assert queue.put(EventText.of(number, None, priority), NOW)
                heapq.heappush(model, (-priority, number))
            case 3 if model:
                queue.burst = chance.randrange(1, 6)
                taken = list(queue.take(alone=chance.random() < 0.2))
                expected = [heapq.heappop(model) for _ in taken]
                assert _values(taken) == [each for _, each in expected]
                back = chance.randrange(len(taken) + 1)
                queue.put_back(taken[back:])
                for each in expected[back:]:
                    heapq.heappush(model, each)
            case 4:
                queue = Queue.model_validate_json(queue.model_dump_json())
            case _:
                assert len(queue) == len(model)
    assert queue.clear() == len(model)
