"""What tracking events show of states, inputs and errors, and what they do not."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from temporalio.client import Client

from durable_jobs.tracking import MemorySink, Tracking, parse_event
from tests.support import eventually
from tests.support.jobs import running_worker
from tests.support.lives import (
    Event,
    Tracked,
    executed,
    failed,
    flushed,
    in_order,
    specific,
    stack_of,
    started,
    terminated,
)
from tests.tracking.jobs import (
    SECRET,
    Basket,
    BeatShown,
    Gather,
    GatherShown,
    HandleShown,
    Item,
)

BeforeSend = Callable[[Event], Event]


class Failed(NamedTuple):
    life: list[Event]
    sent: list[Event]
    tracking: Tracking


def with_state(event: Event, **state: Any) -> Event:
    return {**event, "preExecutionState": {"total": 0, "fail": 0, "word": "", **state}}


async def test_a_job_that_says_so_shows_the_state_before_each_attempt_of_a_flush(
    worker: Tracked,
) -> None:
    digest = worker.jobs.debounce(GatherShown, "shown")
    await digest.add(Item(n=4))
    await digest.add(Item(n=3, fail=1))
    life = await worker.life(digest.instance_id, "debounce.flushed")
    assert life == [
        started(),
        with_state(failed(1, 1, again=True), total=7, fail=1),
        with_state(executed(1, attempt=2), total=7, fail=1),
        flushed(2),
    ]


async def test_a_job_that_says_so_shows_its_input_and_the_state_before_each_tick(
    worker: Tracked,
) -> None:
    poll = worker.jobs.continuous(BeatShown, "shown")
    await poll.start(Basket(total=2, fail=1))
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started", "input": {"total": 2, "fail": 1, "word": ""}},
        with_state(executed(1), total=2, fail=1),
        with_state(failed(2, 1, again=True), total=1, fail=1),
        with_state(executed(2, attempt=2), total=1, fail=1),
        terminated("done", 2),
    ]


async def test_a_tick_of_an_instance_without_input_shows_its_initial_state(
    worker: Tracked,
) -> None:
    poll = worker.jobs.continuous(BeatShown, "initial")
    await poll.start()
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [{"type": "job.started"}, with_state(executed(1)), terminated("done", 1)]


async def test_a_task_that_says_so_shows_its_first_event_and_the_state_before_each_run(
    worker: Tracked,
) -> None:
    task = worker.jobs.task(HandleShown, "shown")
    await task.send(Item(n=5))
    await task.send(Item(n=2, word="end"))
    life = await worker.life(task.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started", "input": {"n": 5, "fail": 0, "word": ""}},
        with_state(executed(1, "on_event")),
        with_state(executed(2, "on_event"), total=5),
        terminated("closed", 2),
    ]


async def test_a_validation_error_is_tracked_without_the_input_it_refused(
    worker: Tracked,
) -> None:
    digest = worker.jobs.debounce(Gather, "invalid")
    await digest.add(Item(fail=1, word="invalid"))
    life = await worker.life(digest.instance_id, "debounce.flushed")
    text = "Input should be a valid integer, unable to parse string as an integer"
    message = f"ValidationError: 1 validation error for int: {text}"
    stack = stack_of("execute", message)
    assert life[1]["error"] == {"message": message, "stack": stack}
    assert SECRET not in str(life)


async def failed_once(client: Client, queue: str, before_send: BeforeSend) -> Failed:
    """A window whose first attempt fails: its events, in order, and all that was sent of them."""
    sink = MemorySink()
    tracking = Tracking(sink, before_send=before_send)
    async with running_worker(client, queue, GatherShown(), tracking=tracking) as jobs:
        digest = jobs.debounce(GatherShown, queue)
        await digest.add(Item(n=77, fail=1))
        await client.get_workflow_handle(digest.instance_id).result()
        await eventually(lambda: len(in_order(sink.events, digest.instance_id)) == 4)
    return Failed(in_order(sink.events, digest.instance_id), sink.events, tracking)


async def test_what_before_send_takes_out_is_not_sent_and_not_kept(
    client: Client, queue: str
) -> None:
    def redact(event: Event) -> Event:
        kept = {**event}
        if "preExecutionState" in kept:
            kept["preExecutionState"] = "hidden"
        if "error" in kept:
            kept["error"] = {"message": "hidden"}
        return kept

    sent = (await failed_once(client, queue, redact)).sent
    shown = [event for event in sent if "preExecutionState" in event]
    assert len(shown) == 2
    assert {event["preExecutionState"] for event in shown} == {"hidden"}
    [failure] = [event for event in shown if event["type"] == "job.failed"]
    assert failure["error"] == {"message": "hidden"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, BaseException])
async def test_a_before_send_that_fails_costs_the_texts_but_no_event(
    client: Client, queue: str, error: type[BaseException]
) -> None:
    def broken(event: Event) -> Event:
        raise error("no")

    life = [specific(event) for event in (await failed_once(client, queue, broken)).life]
    withheld = {"message": "withheld: before_send failed"}
    assert life == [
        started(),
        {**failed(1, 1, again=True), "error": withheld},
        executed(1, attempt=2),
        flushed(1),
    ]


async def test_before_send_gets_whole_events_in_attempts_too(client: Client, queue: str) -> None:
    seen: list[str] = []

    def read(event: Event) -> Event:
        seen.append(parse_event(event).type)
        return event

    window = await failed_once(client, queue, read)
    assert window.tracking.withheld == 0
    assert seen.count("job.failed") >= 2
    assert seen.count("job.executed") >= 2


@pytest.mark.parametrize("given_back", [{}, {"error": "hidden"}, {"error": {"stack": []}}])
async def test_a_before_send_that_gives_back_no_event_changes_no_run(
    client: Client, queue: str, given_back: Event
) -> None:
    def odd(event: Event) -> Event:
        return {**event, **given_back} if given_back else {}

    life = (await failed_once(client, queue, odd)).life
    assert life[1]["error"] == {"message": "withheld: before_send failed"}
    assert [parse_event(event).sequence for event in life] == [1, 2, 3, 4]
