"""A handler that polls something with a rate limit puts its run off, and loses nothing by it."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    DefinitionError,
    Every,
    Retry,
    RetryAfter,
    Snooze,
)
from durable_jobs.tracking import MemorySink, Tracking
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, status_of, until_run
from tests.support.lives import in_order

PAGES = 5
HOUR = timedelta(hours=1)


class Poll(ContinuousJob[int]):
    """Fetches pages, two at a time before the API asks it to wait."""

    name = "poll-pages"
    schedule = Every(HOUR)
    retry = Retry(max_attempts=1)

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, str]] = []
        """The page, the attempt and the idempotency key of each fetch."""

    def initial_state(self, key: str) -> int:
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        fetched = 0
        while run.state < PAGES:
            if fetched == 2:
                raise Snooze(timedelta(milliseconds=50))
            self.seen.append((run.state, run.attempt, run.idempotency_key))
            run.state += 1
            fetched += 1
            await run.checkpoint()


async def test_a_snoozed_run_goes_on_from_its_checkpoint_and_counts_no_attempt(
    client: Client, queue: str
) -> None:
    job, sink = Poll(), MemorySink()
    async with running_worker(client, queue, job, tracking=Tracking(sink)) as jobs:
        poll = jobs.continuous(Poll, new_key())
        await poll.start()
        status = await until_run(poll, 1)
        assert await poll.state() == PAGES
        events = await eventually(lambda: _executed(sink, poll.instance_id))
    assert [page for page, _, _ in job.seen] == list(range(PAGES))
    assert {attempt for _, attempt, _ in job.seen} == {1}
    assert len({key for _, _, key in job.seen}) == 1
    assert status.last_error is None
    assert [event["type"] for event in events] == ["job.started", "job.executed"]


def _executed(sink: MemorySink, instance_id: str) -> list[dict[str, object]]:
    events = in_order(sink.events, instance_id)
    return events if any(event["type"] == "job.executed" for event in events) else []


async def test_a_trigger_ends_a_snooze(client: Client, queue: str) -> None:
    class Sleepy(Poll):
        name = "sleepy"

        async def execute(self, run: ContinuousRun[int]) -> None:
            self.seen.append((run.state, run.attempt, run.idempotency_key))
            if len(self.seen) == 1:
                raise Snooze(datetime.now(UTC) + HOUR)

    job = Sleepy()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(Sleepy, new_key())
        await poll.start()

        async def snoozes() -> bool:
            status = await status_of(poll)
            return status.next_run_at is not None and status.status == "retrying"

        await eventually(snoozes)
        await poll.trigger()
        await until_run(poll, 1)
        assert (await status_of(poll)).run_count == 1
    assert [attempt for _, attempt, _ in job.seen] == [1, 1]
    assert len({key for _, _, key in job.seen}) == 1


async def test_a_checkpoint_outlives_a_run_that_failed_for_good_where_the_job_says_so(
    client: Client, queue: str
) -> None:
    class Keeping(Poll):
        name = "keeping"
        keep_checkpoint_on_exhausted = True

        async def execute(self, run: ContinuousRun[int]) -> None:
            self.seen.append((run.state, run.attempt, run.idempotency_key))
            run.state += 1
            await run.checkpoint()
            raise RetryAfter(HOUR, "429")

    job = Keeping()
    async with running_worker(client, queue, job) as jobs:
        poll = jobs.continuous(Keeping, new_key())
        await poll.start()
        await until_run(poll, 1)
        await poll.trigger()
        await until_run(poll, 2)
        assert await poll.state() == 2
    assert [page for page, _, _ in job.seen] == [0, 1]


def test_a_snooze_takes_a_span_or_an_aware_time() -> None:
    with pytest.raises(ValueError, match="aware datetime"):
        Snooze(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="Snooze takes a timedelta"):
        Snooze(60)  # type: ignore[arg-type]


def test_a_debounce_keeps_no_checkpoint_for_its_next_window() -> None:
    class Digest(DebounceJob[int]):
        name = "digest"
        flush_after = HOUR
        keep_checkpoint_on_exhausted = True

        async def execute(self, run: DebounceRun[int]) -> None: ...

    with pytest.raises(DefinitionError, match="for continuous and task jobs"):
        Digest().check()
