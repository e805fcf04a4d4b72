"""The outbox: numbers without a gap, the same ones each time, whatever becomes of a flush."""

import random
from datetime import UTC, datetime

import pytest

from durable_jobs.protocol import DeliverResult, Detail, JobRef, TrackingIdentity
from durable_jobs.tracking.outbox import Outbox, OutboxCarry

NOW = datetime(2026, 5, 4, tzinfo=UTC)
REF = JobRef(job_type="task", job="triage", key="k")
SHOP = TrackingIdentity(env="shop")


def _outbox(carry: OutboxCarry | None = None) -> Outbox:
    return Outbox(REF, REF.instance_id, carry or OutboxCarry(execution_id="run-1"))


def _delivered(count: int) -> DeliverResult:
    return DeliverResult(execution_id="run-1", tracking=SHOP, delivered=count)


def _numbers(events: list[Detail]) -> list[int]:
    return [event["sequence"] for event in events]


def test_what_a_lost_flush_took_is_taken_again_under_the_same_numbers_and_ids() -> None:
    outbox = _outbox()
    outbox.emit("job.executed", NOW, {})
    taken = outbox.take()
    outbox.release()
    outbox.emit("job.executed", NOW, {})
    assert outbox.take()[0] == taken[0]
    assert _numbers(outbox.take()) == [1, 2]


def test_what_is_emitted_while_a_flush_is_under_way_follows_it() -> None:
    outbox = _outbox()
    outbox.emit("job.executed", NOW, {})
    assert _numbers(outbox.take()) == [1]
    outbox.emit("job.executed", NOW, {})
    outbox.settle(_delivered(1))
    assert _numbers(outbox.take()) == [2]


def test_numbers_are_not_used_twice_where_tracking_ends_and_begins_during_a_flush() -> None:
    outbox = _outbox()
    outbox.track(SHOP)
    outbox.emit("job.executed", NOW, {})
    assert _numbers(outbox.take()) == [1]
    outbox.emit("job.executed", NOW, {})
    outbox.track(None)
    outbox.track(SHOP)
    outbox.emit("job.executed", NOW, {})
    outbox.settle(_delivered(1))
    assert _numbers(outbox.take()) == [2, 3]


@pytest.mark.parametrize("seed", range(20))
def test_each_event_is_settled_once_in_order_whatever_happens(seed: int) -> None:
    chance, outbox, emitted = random.Random(seed), _outbox(), 0
    seen: dict[int, Detail] = {}
    settled: list[Detail] = []
    taken: list[Detail] | None = None
    for _ in range(400):
        match chance.randrange(5):
            case 0 | 1:
                emitted += 1
                outbox.emit("job.executed", NOW, {"runCount": emitted, "text": "x" * 9_000})
            case 2 if taken is None:
                taken = outbox.take()
                assert all(seen.setdefault(event["sequence"], event) == event for event in taken)
            case 3 if taken is not None:
                if chance.random() < 0.3:
                    outbox.release()
                else:
                    outbox.settle(
                        DeliverResult(execution_id="run-1", delivered=len(taken), tracking=SHOP)
                    )
                    settled += taken
                taken = None
            case 4:
                # Continue-as-new leaves a flush under way behind.
                carry = outbox.carry().model_dump_json()
                outbox, taken = _outbox(OutboxCarry.model_validate_json(carry)), None
            case _:
                pass
    assert _numbers(settled) == list(range(1, len(settled) + 1))
    assert [event["runCount"] for event in settled] == list(range(1, len(settled) + 1))
    assert outbox.pending == emitted - len(settled)
