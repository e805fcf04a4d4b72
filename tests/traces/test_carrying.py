"""How a traceparent travels with its event, without OpenTelemetry: to its run, and not for ever."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_jobs.kinds import KINDS
from durable_jobs.protocol import RunRequest
from durable_jobs.questions import Folded
from durable_jobs.traceparent import MOST_LINKS, is_sampled, read_traceparent
from durable_jobs.values import dumps
from durable_jobs.wire import to_raw
from durable_jobs.workflows.inputs import read_message
from durable_jobs.workflows.machines.gathered import Gathered
from durable_jobs.workflows.machines.messages import BadInput
from durable_jobs.workflows.machines.queue import TRACED, Queue
from durable_jobs.workflows.machines.run import Lost
from durable_jobs.workflows.machines.texts import EventText
from durable_jobs.workflows.machines.window import Rules
from tests.machines.jobs import (
    SECOND,
    Careful,
    Deliver,
    Digest,
    Lettered,
    Poll,
    Triage,
    in_turn,
    simulated,
    with_options,
)
from tests.traces.texts import TRACEPARENT, traceparent

NOW = datetime(2026, 5, 4, tzinfo=UTC)
NONE = "0" * 16


def read(verb: str, *args: Any, kind: str = "task") -> list[EventText | BadInput]:
    return read_message(KINDS[kind], verb, [to_raw(arg) for arg in args], NOW).events


def traced(number: int, *, sampled: bool = True, **given: Any) -> EventText:
    return EventText.of(number, traceparent=traceparent(number, sampled=sampled), **given)


def texts_of(found: Gathered) -> list[str | None]:
    return [event.traceparent for event in found.events]


# -- what callers send ----------------------------------------------------------------------


def test_a_traceparent_is_taken_in_the_form_of_its_first_version() -> None:
    assert read_traceparent(TRACEPARENT) == TRACEPARENT
    assert read_traceparent(f"cc{TRACEPARENT[2:]}-what-comes-later") == TRACEPARENT


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        ["00"],
        "",
        TRACEPARENT[:-1],
        f"{TRACEPARENT}-more",
        f"{TRACEPARENT}\n",
        f"ff{TRACEPARENT[2:]}",
        TRACEPARENT.upper(),
        TRACEPARENT.replace("b7ad6b7169203331", NONE),
        TRACEPARENT.replace("0af7651916cd43dd8448eb211c80319c", 2 * NONE),
        "\u0660" + TRACEPARENT[1:],
    ],
)
def test_what_is_no_traceparent_is_ignored_and_its_event_taken(value: Any) -> None:
    [event] = read("send_batch", {"events": [{"data": 1, "id": "a", "traceparent": value}]})
    assert event == EventText.of(1, "a")
    [event] = read("send", 1, {"traceparent": value})
    assert event == EventText.of(1)


def test_only_the_flag_says_whether_a_trace_is_kept() -> None:
    assert is_sampled(f"{TRACEPARENT[:-2]}03")
    assert not is_sampled(f"{TRACEPARENT[:-2]}02")


@pytest.mark.parametrize(
    ("kind", "verb"),
    [("debounce", "add"), ("task", "send"), ("task", "ask"), ("workerPool", "enqueue")],
)
def test_a_single_event_may_have_its_traceparent_beside_it(kind: str, verb: str) -> None:
    [event] = read(verb, {"n": 1}, {"traceparent": TRACEPARENT}, kind=kind)
    assert event == EventText.of({"n": 1}, traceparent=TRACEPARENT)


@pytest.mark.parametrize("second", [None, 1, "x", [], {}, {"id": "a"}])
def test_a_second_argument_of_another_kind_is_refused_as_ever(second: Any) -> None:
    with pytest.raises(BadInput, match="takes the event as its one argument, got 2 arguments"):
        read("send", 1, second)


def test_a_traceparent_weighs_nothing_where_events_are_counted() -> None:
    event, plain = EventText.of([1], "a", 3, TRACEPARENT), EventText.of([1], "a", 3)
    assert event.size == plain.size
    assert event.untraced() == plain
    assert event.named("b") == EventText.of([1], "b", 3, TRACEPARENT)


# -- windows --------------------------------------------------------------------------------


def test_a_window_keeps_the_first_traceparents_and_each_once() -> None:
    found = Gathered()
    for number in range(1, 10_001):
        found.add(traced(number), NOW)
        found.add(traced(number), NOW)
    kept = [each for each in texts_of(found) if each is not None]
    assert kept == [traceparent(number) for number in range(1, MOST_LINKS + 1)]
    plain = Gathered()
    for number in range(1, 10_001):
        plain.add(EventText.of(number), NOW)
        plain.add(EventText.of(number), NOW)
    assert found.count == plain.count
    assert found.bytes == plain.bytes
    assert len(dumps(found.carry())) - len(dumps(plain.carry())) < 10_000


def test_a_trace_that_is_not_kept_is_known_of_a_window_without_others_alone() -> None:
    found = Gathered()
    for number, sampled in ((1, False), (2, False), (3, True), (4, False)):
        found.add(traced(number, sampled=sampled), NOW)
    assert texts_of(found) == [traceparent(1, sampled=False), None, traceparent(3), None]


def test_what_is_folded_ahead_leaves_its_traceparents_to_the_window() -> None:
    found = Gathered()
    for number in (1, 2, 3):
        found.add(traced(number), NOW)
    found.apply_fold(2, Folded(state=[1, 2], has_state=True))
    found.add(traced(1), NOW)
    found = Gathered.of(found.carry())
    assert found.folded_traceparents == [traceparent(1), traceparent(2)]
    assert texts_of(found) == [traceparent(3), None]


def test_traceparents_go_where_their_events_go() -> None:
    found = Gathered()
    for number in range(10, 30):
        found.add(traced(number), NOW)
    taken, left = found.take("timeout", Rules(flush_after=5, most_bytes=20))
    assert texts_of(taken) == [traceparent(number) for number in range(10, 20)]
    assert texts_of(left) == [traceparent(number) for number in range(20, 30)]
    joined = taken.before(left, keep_window=True)
    assert texts_of(joined) == [traceparent(number) for number in range(10, 30)]


def test_they_outlive_a_flush_that_failed_behind_a_fold() -> None:
    failed, newer = Gathered(), Gathered()
    for number, found in ((1, failed), (2, failed), (3, newer)):
        found.add(traced(number), NOW)
    failed.apply_fold(1, Folded(state=[1], has_state=True))
    joined = failed.before(newer, keep_window=True)
    assert joined.folded_traceparents == [traceparent(1)]
    assert texts_of(joined) == [traceparent(2), traceparent(3)]


def test_a_window_that_was_carried_before_there_were_traceparents_is_read() -> None:
    carried = Gathered()
    carried.add(EventText.of(1, "a"), NOW)
    old: Any = carried.carry()
    del old["folded_traceparents"]
    assert Gathered.of(old).count == 1


def test_a_flush_gets_the_traceparents_of_all_its_events() -> None:
    sim, _ = simulated(Digest(), in_turn("fail"))
    sim.send("add", traced(1), EventText.of(2), traced(3))
    sim.advance(6 * SECOND)
    assert sim.carry()
    sim.advance(20 * SECOND)
    assert [request.attempt for request in sim.attempts] == [1, 2]
    for request in sim.attempts:
        events = request.detail["events"]
        assert [event.get("traceparent") for event in events] == [
            traceparent(1),
            None,
            traceparent(3),
        ]


# -- queues ---------------------------------------------------------------------------------


def own(request: RunRequest) -> list[str | None] | None:
    return request.detail.get("traceparents")


def test_each_event_of_a_burst_brings_its_own() -> None:
    sim, _ = simulated(Triage())
    sim.send("send", traced(1), EventText.of(2), traced(3))
    [request] = sim.attempts
    assert own(request) == [traceparent(1), None, traceparent(3)]
    sim, _ = simulated(Deliver())
    sim.send("enqueue", traced(1), EventText.of(2), traced(3))
    [request] = sim.attempts
    assert own(request) == [traceparent(1), None, traceparent(3)]


def test_nothing_is_said_where_no_event_has_one() -> None:
    sim, _ = simulated(Triage())
    sim.send("send", 1, 2)
    assert own(sim.attempts[0]) is None
    assert b"traceparent" not in dumps(sim.attempts[0])


def test_it_is_kept_over_attempts_and_continue_as_new() -> None:
    sim, _ = simulated(Triage(), in_turn("fail"))
    sim.send("send", traced(1))
    assert sim.carry()
    sim.advance(20 * SECOND)
    assert [own(request) for request in sim.attempts] == [[traceparent(1)]] * 2


def test_it_is_kept_of_an_event_that_a_lost_burst_did_not_get_to() -> None:
    sim, _ = simulated(Deliver(), in_turn("hold"))
    sim.send("enqueue", traced(1), traced(2))
    sim.end_attempt(Lost())
    sim.advance(60 * SECOND)
    assert [own(request) for request in sim.attempts] == [
        [traceparent(1), traceparent(2)],
        [traceparent(1)],
        [traceparent(2)],
    ]


@pytest.mark.parametrize(
    ("job", "verb", "last"),
    [(Careful(), "send", "on_error"), (Lettered(), "enqueue", "on_dead_letter")],
)
def test_the_call_that_follows_a_failure_and_a_redrive_have_that_of_the_event(
    job: Any, verb: str, last: str
) -> None:
    sim, _ = simulated(job, in_turn("final"))
    sim.send(verb, traced(1))
    assert sim.attempts[1].handler == last
    assert sim.carry()
    [failed] = sim.status["failedEvents"]
    assert failed["traceparent"] == traceparent(1)
    sim.send("redrive")
    handled = [request for request in sim.attempts if "event" in request.detail]
    assert [own(request) for request in sim.attempts[:2]] == [[traceparent(1)]] * 2
    assert own(handled[-1]) == [traceparent(1)]


def test_behind_a_thousand_events_that_wait_none_is_kept() -> None:
    queue = Queue()
    for number in range(1, TRACED + 11):
        queue.put(traced(number), NOW)
    queue = Queue.model_validate_json(queue.model_dump_json())
    kept = [item.text.traceparent for _, _, item in sorted(queue.heap)]
    assert kept == [*(traceparent(number) for number in range(1, TRACED + 1)), *[None] * 10]


# -- starts ---------------------------------------------------------------------------------


def test_the_first_run_of_an_instance_knows_who_started_it() -> None:
    sim, _ = simulated(with_options(Poll, max_runs=2), in_turn("fail"))
    sim.machine.life.traceparent = TRACEPARENT
    sim.settle()
    assert sim.carry()
    sim.advance(120 * SECOND)
    assert [(request.run_count, request.attempt, own(request)) for request in sim.attempts] == [
        (1, 1, [TRACEPARENT]),
        (1, 2, [TRACEPARENT]),
        (2, 1, None),
    ]
