"""The tracking events of whole lives of a debounce, field by field."""

import pytest
from temporalio.client import WorkflowFailureError

from tests.support.lives import (
    EXHAUSTED,
    Tracked,
    between,
    executed,
    failed,
    failed_for_good,
    flushed,
    paused,
    resumed,
    stack_of,
    started,
    terminated,
    time_of,
)
from tests.tracking.jobs import (
    Gather,
    GatherByCount,
    GatherLater,
    GatherOn,
    GatherOnce,
    GatherOrEnd,
    Item,
)


async def test_a_window_is_tracked_from_its_first_event_to_its_flush(worker: Tracked) -> None:
    digest = worker.jobs.debounce(Gather, "normal")
    await digest.add(Item())
    await digest.add(Item())
    life = await worker.life(digest.instance_id, "debounce.flushed")
    assert life == [started(), executed(1), flushed(2, ms=between(150, 1000))]


async def test_a_window_says_when_it_flushes(worker: Tracked) -> None:
    digest = worker.jobs.debounce(Gather, "flush-at")
    await digest.add(Item())
    first, _, last = await worker.until(digest.instance_id, "debounce.flushed")
    opened, due = time_of(first["timestamp"]), time_of(first["flushAt"])
    assert round((due - opened).total_seconds() * 1000) in (150, 151)
    assert due <= time_of(last["timestamp"])


async def test_each_window_of_an_instance_goes_on_counting(worker: Tracked) -> None:
    digest = worker.jobs.debounce(Gather, "windows")
    await digest.add(Item())
    await digest.pause("ann: the API is down")
    await worker.until(digest.instance_id, "job.paused")
    await digest.flush()
    await worker.until(digest.instance_id, "debounce.flushed")
    await digest.add(Item())
    await worker.until(digest.instance_id, "debounce.started")
    await digest.flush()
    life = await worker.life(digest.instance_id, "debounce.flushed")
    assert life == [
        *[started(), paused(note="ann: the API is down"), executed(1), flushed(1, "manual")],
        *[started(), executed(2), flushed(1, "manual")],
    ]


async def test_a_full_window_without_a_time_limit_names_no_time(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherByCount, "full")
    await digest.add(Item())
    await digest.add(Item())
    life = await worker.life(digest.instance_id, "debounce.flushed")
    assert life == [{"type": "debounce.started"}, executed(1), flushed(2, "maxEvents")]


async def test_a_window_of_rejected_events_alone_is_flushed_without_a_run(worker: Tracked) -> None:
    digest = worker.jobs.debounce(Gather, "rejected")
    await digest.add(Item(word="unfit"))
    life = await worker.life(digest.instance_id, "debounce.flushed")
    assert life == [started(), flushed(0)]


async def test_a_run_that_ends_its_debounce_is_followed_by_the_end(worker: Tracked) -> None:
    digest = worker.jobs.debounce(Gather, "enough")
    await digest.add(Item(word="enough"))
    life = await worker.life(digest.instance_id, "job.terminated")
    assert life == [started(), executed(1), flushed(1), terminated("enough", 1)]


async def test_clearing_a_debounce_tells_how_many_events_were_dropped(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherLater, "cleared")
    await digest.add(Item())
    await digest.pause()
    await worker.until(digest.instance_id, "job.paused")
    await digest.add(Item())
    await digest.status()
    await digest.clear()
    life = await worker.life(digest.instance_id, "job.terminated")
    assert life == [started(), paused(), terminated("cleared", 0, discarded=2)]


async def test_cancelling_a_debounce_tells_so(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherLater, "cancelled")
    await digest.add(Item())
    await digest.status()
    await worker.handle(digest.instance_id).cancel()
    life = await worker.life(digest.instance_id, "job.terminated")
    assert life == [started(), terminated("cancelled", 0, discarded=1)]


async def test_a_debounce_that_is_terminated_without_a_reason_gives_none(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherLater, "terminated")
    await digest.add(Item())
    await digest.status()
    await digest.terminate()
    life = await worker.life(digest.instance_id, "job.terminated")
    assert life == [started(), terminated(None, 0, discarded=1)]


async def test_each_failed_attempt_of_a_flush_is_tracked_with_its_error(worker: Tracked) -> None:
    digest = worker.jobs.debounce(Gather, "retried")
    await digest.add(Item(fail=2))
    life = await worker.life(digest.instance_id, "debounce.flushed")
    assert life == [
        started(),
        failed(1, 1, again=True),
        failed(1, 2, again=True),
        executed(1, attempt=3),
        flushed(1),
    ]


async def test_an_exhausted_flush_that_pauses_is_tracked_until_it_is_flushed_again(
    worker: Tracked,
) -> None:
    digest = worker.jobs.debounce(Gather, "paused")
    await digest.add(Item(fail=4))
    await worker.until(digest.instance_id, "job.paused")
    await digest.add(Item())
    await digest.flush()
    life = await worker.life(digest.instance_id, "job.resumed")
    assert life == [
        *[started(), *failed_for_good(1), paused("exhausted")],
        *[executed(2), flushed(2, "manual"), resumed("exhausted")],
    ]


async def test_an_exhausted_flush_that_goes_on_opens_the_next_window(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherOn, "exhausted")
    await digest.add(Item(fail=3))
    life = await worker.life(digest.instance_id, "debounce.flushed")
    assert life == [started(), *failed_for_good(1), started(), executed(2), flushed(1)]


async def test_an_exhausted_flush_can_end_its_debounce(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherOrEnd, "exhausted")
    await digest.add(Item(fail=3))
    await digest.add(Item(fail=3))
    life = await worker.life(digest.instance_id, "job.terminated")
    assert life == [started(), *failed_for_good(1), terminated(EXHAUSTED, 1, discarded=2)]
    with pytest.raises(WorkflowFailureError):
        await worker.handle(digest.instance_id).result()


async def test_a_single_attempt_that_fails_exhausts_no_retries(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherOnce, "single")
    await digest.add(Item(fail=1))
    life = await worker.life(digest.instance_id, "job.terminated")
    last = terminated("Retry exhausted after 1 attempts", 1, discarded=1)
    assert life == [started(), failed(1, 1, again=False), last]


async def test_an_error_that_is_not_tried_again_exhausts_no_retries(worker: Tracked) -> None:
    digest = worker.jobs.debounce(GatherOrEnd, "final")
    await digest.add(Item(fail=3, word="final"))
    life = await worker.life(digest.instance_id, "job.terminated")
    stack = stack_of("execute", "NonRetryable: this cannot work")
    failure = {
        **failed(1, 1, again=False),
        "error": {"message": "NonRetryable: this cannot work", "stack": stack},
    }
    last = terminated("Retry exhausted after 1 attempts", 1, discarded=1)
    assert life == [started(), failure, last]
