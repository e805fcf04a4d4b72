"""The outbox: what it makes of what workers say about tracking, now this one, now that."""

from datetime import UTC, datetime, timedelta
from typing import Any

from durable_jobs.protocol import DeliverResult, JobRef, TrackingIdentity
from durable_jobs.tracking.outbox import Outbox, OutboxCarry

AT = datetime(2026, 1, 1, tzinfo=UTC)
REF = JobRef(job_type="task", job="chat", key="a")
ALL = TrackingIdentity(env="test", service_key="svc")
CORE = TrackingIdentity(env="test", service_key="svc", types="core")


def outbox(*kinds: str, carry: OutboxCarry | None = None, **options: Any) -> Outbox:
    made = Outbox(REF, REF.instance_id, carry or OutboxCarry(execution_id="run-1"), **options)
    emit(made, *kinds)
    return made


def emit(box: Outbox, *kinds: str) -> None:
    for place, kind in enumerate(kinds):
        box.emit(kind, AT + timedelta(seconds=place), {})


def taken(box: Outbox) -> list[tuple[str, int]]:
    return [(event["type"], event["sequence"]) for event in box.take()]


def answer(tracking: TrackingIdentity | None = ALL, **counts: int) -> DeliverResult:
    return DeliverResult(execution_id="run-1", tracking=tracking, **counts)


def test_what_continue_as_new_carries_keeps_its_numbers_and_ids() -> None:
    box = outbox("job.started", "job.executed")
    box.take()
    box.settle(answer(delivered=2))
    emit(box, "job.executed", "job.terminated")
    before = box.take()
    carried = OutboxCarry.model_validate_json(box.carry().model_dump_json())
    after = outbox(carry=carried).take()
    assert [event["sequence"] for event in after] == [3, 4]
    assert after == before


def test_the_first_answer_says_how_the_instance_is_tracked() -> None:
    box = outbox("job.started")
    [event] = box.take()
    assert (event["env"], event["serviceKey"]) == (None, None)
    box.settle(answer(delivered=1))
    emit(box, "job.executed")
    [event] = box.take()
    assert (event["env"], event["serviceKey"]) == ("test", "svc")
    assert box.tracked


def test_a_pause_is_not_told_before_a_worker_has_said_whether_it_is_wanted() -> None:
    for identity, then in ((ALL, "job.paused"), (CORE, "job.terminated")):
        box = outbox("job.started", "job.paused", "job.terminated")
        assert taken(box) == [("job.started", 1)]
        box.settle(answer(identity, delivered=1))
        assert taken(box)[0] == (then, 2)


def test_a_pause_that_comes_first_waits_for_an_answer_to_nothing() -> None:
    box = outbox("job.paused", "job.terminated")
    assert taken(box) == []
    box.settle(answer(CORE))
    assert taken(box) == [("job.terminated", 1)]


def test_an_attempt_may_say_so_while_the_first_flush_is_in_flight() -> None:
    box = outbox("job.started", "job.paused", "job.executed")
    box.take()
    box.track(CORE)
    box.settle(answer(CORE, delivered=1))
    assert taken(box) == [("job.executed", 2)]


def test_what_a_worker_without_tracking_leaves_uses_up_no_number() -> None:
    box = outbox("debounce.started", "job.executed")
    box.take()
    box.settle(answer(None))
    assert (box.pending, box.tracked) == (0, False)
    emit(box, "debounce.flushed")
    box.track(ALL)
    emit(box, "debounce.started")
    assert taken(box) == [("debounce.started", 1)]


def test_an_untracked_start_is_told_where_an_attempt_is_tracked_meanwhile() -> None:
    box = outbox("debounce.started")
    box.take()
    box.track(ALL)
    emit(box, "job.executed")
    box.settle(answer(None))
    assert taken(box) == [("debounce.started", 1), ("job.executed", 2)]


def test_a_tracked_start_is_settled_where_an_attempt_is_untracked_meanwhile() -> None:
    box = outbox("debounce.started")
    box.take()
    emit(box, "job.executed")
    box.track(None)
    assert box.pending == 1
    box.settle(answer(delivered=1))
    box.track(ALL)
    emit(box, "debounce.flushed")
    assert taken(box) == [("debounce.flushed", 2)]


def test_what_was_emitted_under_tracking_leaves_after_it_was_switched_off() -> None:
    box = outbox()
    box.track(ALL)
    emit(box, "job.started", "job.executed")
    box.track(None)
    emit(box, "job.executed")
    [first, second] = box.take()
    assert (first["env"], second["type"]) == ("test", "job.executed")
    box.settle(answer(None, handed_over=2))
    assert box.pending == 0
    assert box.status()["handedOver"] == 2


def test_an_answer_of_the_execution_before_a_reset_uses_up_no_number_of_the_new_one() -> None:
    box = outbox("job.executed", carry=OutboxCarry(execution_id="run-2"), was_reset=True)
    box.take()
    box.settle(answer(delivered=1))
    emit(box, "job.terminated")
    assert taken(box) == [("job.terminated", 1)]


def test_a_flush_takes_so_many_bytes_and_events() -> None:
    box = outbox(*["job.executed"] * 501)
    assert len(box.take()) == 500
    large = outbox()
    for _ in range(5):
        large.emit("job.executed", AT, {"preExecutionState": "x" * 100_000})
    assert len(large.take()) == 2
    assert len(large.take(all_of_them=True)) == 5
