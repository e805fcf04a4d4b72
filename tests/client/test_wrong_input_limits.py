"""Events and states that do not fit, or are too large; jobs that no worker knows."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field
from temporalio.client import Client

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    InvalidEvent,
    InvalidState,
    PayloadTooLarge,
    Retry,
    StateMismatch,
    TaskJob,
    TaskRun,
)
from durable_jobs.embedded import EmbeddedServer
from tests.support import eventually
from tests.support.jobs import QUICK, last_error_of, new_key, running_worker, until_status
from tests.support.scripted import Book, Push, Total
from tests.support.simple_jobs import Count, Held, Note, simple_jobs
from tests.support.wrong_input import Raw, raw_bench, result_of

KB = 1024


@pytest.fixture(scope="module")
async def raw(client: Client) -> AsyncIterator[Raw]:
    async with raw_bench(client) as bench:
        yield bench


# -- what does not fit


@pytest.mark.parametrize(
    "event", [{"n": "a secret"}, {"note": {"a": "secret"}}, "a secret", None, [1]]
)
async def test_the_client_refuses_an_event_that_does_not_fit_and_sends_nothing(
    raw: Raw, event: Any
) -> None:
    held, note = raw.jobs.debounce(Held, new_key()), raw.jobs.task(Note, new_key())
    for call in (held.add, held.add_confirmed, note.send, note.ask):
        with pytest.raises(InvalidEvent, match=r"held|note") as refused:
            await call(event)
        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None
    assert await held.status() is None
    assert await note.status() is None


async def test_a_refused_event_names_the_job_the_key_and_the_place(raw: Raw) -> None:
    held = raw.jobs.debounce(Held, "octo/cat")
    with pytest.raises(InvalidEvent, match=r"held, key 'octo/cat': n: .*integer"):
        await held.add({"n": "x"})  # type: ignore[arg-type]


class Circle(BaseModel):
    kind: Literal["circle"]


class Square(BaseModel):
    kind: Literal["square"]


def talkative(text: str) -> str:
    """A validator that quotes what it was given."""
    if text != "right":
        raise ValueError(f"I do not like {text!r}, it must be right")
    return text


class Shapes(BaseModel):
    """An event type whose errors quote what came."""

    shape: Annotated[Circle | Square, Field(discriminator="kind")] = Square(kind="square")
    word: Annotated[str, AfterValidator(talkative)] = "right"
    even: Annotated[int, AfterValidator(lambda n: (n % 2 and _fail("must be even")) or n)] = 0


def _fail(text: str) -> None:
    raise ValueError(text)


class Draw(DebounceJob[Shapes]):
    name = "draw"
    flush_after = timedelta(hours=1)

    async def execute(self, run: DebounceRun[Shapes]) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("event", "place"),
    [
        ({"shape": {"kind": "secret"}}, "shape: union tag invalid"),
        ({"word": "secret"}, "word: value error"),
        ({"even": 3}, "even: Value error, must be even"),
    ],
)
async def test_a_refusal_tells_the_place_but_never_quotes_the_event(
    raw: Raw, event: dict[str, Any], place: str
) -> None:
    draw = raw.jobs.debounce(Draw, new_key())
    with pytest.raises(InvalidEvent) as refused:
        await draw.add(event)  # type: ignore[arg-type]
    assert place in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_the_client_refuses_a_state_that_does_not_fit(raw: Raw) -> None:
    count = raw.jobs.continuous(Count, new_key())
    with pytest.raises(InvalidState, match="ns") as refused:
        await count.start({"ns": "secret"})  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)
    assert await count.status() is None


# -- what is too large


async def test_the_client_refuses_an_event_over_256_kb_and_sends_nothing(raw: Raw) -> None:
    held, note = raw.jobs.debounce(Held, new_key()), raw.jobs.task(Note, new_key())
    large = Push(note="x" * 256 * KB)
    for call in (held.add, held.add_confirmed, note.send, note.ask):
        with pytest.raises(PayloadTooLarge, match=r"(held|note), key .*262,1\d\d bytes|262,144"):
            await call(large)
    assert await held.status() is None
    assert await note.status() is None


async def test_an_event_just_under_256_kb_is_taken(raw: Raw) -> None:
    held = raw.jobs.debounce(Held, new_key())
    await held.add(Push(n=3, note="x" * (256 * KB - 30)))
    assert await held.state() == Total(ns=[3])
    await held.terminate()


async def test_the_client_refuses_a_state_over_512_kb_and_sends_nothing(raw: Raw) -> None:
    count = raw.jobs.continuous(Count, new_key())
    with pytest.raises(PayloadTooLarge, match=r"count, key .*524,288"):
        await count.start(Total(ns=[1] * 300 * KB))
    assert await count.status() is None


async def test_from_half_of_a_limit_a_warning_is_logged_once_a_job(
    raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    class Heavy(Held):
        name = f"heavy-{new_key()}"

    heavy = raw.jobs.debounce(Heavy, new_key())
    with caplog.at_level(logging.WARNING, "durable_jobs"):
        for size in (100, 140, 150):
            with pytest.raises(InvalidEvent):
                await heavy.add({"n": "wrong", "note": "x" * size * KB})  # type: ignore[arg-type]
            # No worker knows the job: nothing comes of it.
            await heavy.add(Push(note="x" * size * KB))
    # The SDK, too, names the instance: where it tells that no worker found its job.
    ours = [record for record in caplog.records if record.name.startswith("durable_jobs")]
    warnings = [record.getMessage() for record in ours if Heavy.name in record.message]
    assert len(warnings) == 1
    assert "143," in warnings[0]
    await heavy.terminate()


async def test_a_raw_event_over_256_kb_is_rejected_and_the_instance_goes_on(raw: Raw) -> None:
    for kind, one, batch in (("debounce", "add", "add_batch"), ("task", "send", "send_batch")):
        handle = await raw.started(kind)
        large = {"n": 5, "note": "x" * 300 * KB}
        await handle.signal(one, large)
        assert "262,144" in await raw.rejected(handle, 1)
        await handle.signal(batch, {"events": [{"data": large}, {"data": {"n": 6}}]})
        assert "262,144" in await raw.rejected(handle, 2)
        await handle.signal(one, {"n": 7, "note": "x" * 1900 * KB})
        assert "262,144" in await raw.rejected(handle, 3)
        assert await handle.query("state") == {"ns": [1, 6]}
        await raw.still_works(handle, kind)


class Swollen(ContinuousJob[Total]):
    """Its state grows too large."""

    name = "swollen"
    schedule = Every(timedelta(hours=1))
    start_immediately = False
    retry = QUICK

    async def execute(self, run: ContinuousRun[Total]) -> None:
        run.state.ns = [1] * 300 * KB if run.run_count == 1 else [2]


class Bloated(TaskJob[Push, Total]):
    """Its state grows too large."""

    name = "bloated"
    retry = QUICK

    async def on_event(self, run: TaskRun[Total], event: Push) -> None:
        run.state.ns = [1] * 300 * KB if event.n == 1 else [2]

    async def execute(self, run: TaskRun[Total]) -> None:
        """Nothing."""


async def test_a_state_that_grows_too_large_fails_the_run_for_good_and_is_not_kept(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Swollen(), Bloated()) as jobs:
        swollen = jobs.continuous(Swollen, new_key())
        await swollen.start(Total(ns=[7]))
        await swollen.trigger()
        bloated = jobs.task(Bloated, new_key())
        await bloated.send(Push(n=1))
        for handle in (swollen, bloated):
            assert "524,288" in await last_error_of(handle)
            status = await handle.status()
            assert status
            assert (status.run_count, status.attempt) == (1, 0)
        assert await swollen.state() == Total(ns=[7])
        assert await bloated.state() == Total()
        await swollen.trigger()
        await bloated.send(Push(n=2))
        for handle in (swollen, bloated):
            await eventually(lambda handle=handle: _state_is(handle, Total(ns=[2])))
            await handle.terminate()


async def _state_is(handle: Any, state: object) -> bool:
    return await handle.state() == state


async def test_a_signal_over_2_mb_is_refused_at_the_caller(raw: Raw) -> None:
    handle = await raw.started("debounce")
    with pytest.raises(Exception, match=r"(?i)exceed|limit|large"):
        await handle.signal("add", "x" * 2200 * KB)
    await raw.still_works(handle, "debounce")


# -- jobs that no worker knows, states that no longer fit


async def test_an_instance_of_a_job_no_worker_knows_waits_visibly_until_one_does(
    client: Client, server: EmbeddedServer, queue: str
) -> None:
    class Other(Held):
        name = "other"

    key = new_key()
    async with running_worker(client, queue, Other(Book())) as jobs:
        held = jobs.debounce(Held, key)
        count, note = jobs.continuous(Count, key), jobs.task(Note, key)
        await held.add(Push(n=1))
        assert (await count.start(Total(ns=[5]))).created
        await note.send(Push(n=3))
        for handle, kind in ((held, "debounce"), (count, "continuous"), (note, "task")):
            error = await last_error_of(handle)
            assert handle.job_name in error
            assert kind in error
            assert "other" in error
        await held.add(Push(n=2))
        await count.trigger()
        await held.flush()
        status = await until_status(held, "debouncing")
        assert status.event_count == 2
        # The worker that does not know the jobs stays.
        second = await Client.connect(server.target)
        async with running_worker(second, queue, *simple_jobs()):
            waited = 60.0
            await eventually(lambda: _state_is(count, Total(ns=[5, 1])), within=waited)
            await eventually(lambda: _state_is(note, Total(ns=[3])), within=waited)
            async with asyncio.timeout(waited):
                result = await client.get_workflow_handle(held.instance_id).result()
            assert (result["status"], result["runCount"]) == ("completed", 1)
            await eventually(lambda: _settled(count))
            await count.terminate()
            await note.terminate()


async def _settled(handle: Any) -> bool:
    return (await handle.status()).last_error is None


async def test_an_instance_of_a_job_no_worker_knows_can_be_ended(
    client: Client, queue: str
) -> None:
    key = new_key()
    async with running_worker(client, queue, Count()) as jobs:
        held = jobs.debounce(Held, key)
        await held.add(Push(n=1))
        await last_error_of(held)
        await held.terminate("a mistake")
        result = await result_of(client.get_workflow_handle(held.instance_id))
        assert (result["status"], result["discardedEvents"]) == ("terminated", 1)


class Renamed(BaseModel):
    """What `Total` became: not the same."""

    numbers: list[int]


class NewCount(ContinuousJob[Renamed]):
    name = Count.name
    schedule = Count.schedule
    start_immediately = False
    retry = QUICK
    on_exhausted = "pause"

    def initial_state(self, key: str) -> Renamed:
        return Renamed(numbers=[])

    async def execute(self, run: ContinuousRun[Renamed]) -> None:
        """Nothing."""


class NewNote(TaskJob[Push, Renamed]):
    name = Note.name
    retry = Retry(3, initial=timedelta(milliseconds=20))

    def initial_state(self, key: str) -> Renamed:
        return Renamed(numbers=[])

    async def on_event(self, run: TaskRun[Renamed], event: Push) -> None:
        """Nothing."""

    async def execute(self, run: TaskRun[Renamed]) -> None:
        """Nothing."""


async def test_a_state_that_no_longer_fits_fails_the_run_for_good_and_is_kept(
    client: Client, queue: str
) -> None:
    key = new_key()
    async with running_worker(client, queue, *simple_jobs()) as jobs:
        count, note = jobs.continuous(Count, key), jobs.task(Note, key)
        await count.start(Total(ns=[7]))
        await count.trigger()
        await note.send(Push(n=8))
        await eventually(lambda: _state_is(count, Total(ns=[7, 1])))
        await eventually(lambda: _state_is(note, Total(ns=[8])))
    async with running_worker(client, queue, NewCount(), NewNote()) as jobs:
        changed = jobs.continuous(NewCount, key), jobs.task(NewNote, key)
        await changed[0].trigger()
        await changed[1].send(Push())
        for handle, kept in zip(changed, ([7, 1], [8]), strict=True):
            error = await last_error_of(handle)
            assert handle.job_name in error
            assert "numbers" in error
            with pytest.raises(StateMismatch, match="numbers"):
                await handle.state()
            status = await handle.status()
            assert status
            assert (status.attempt, status.run_count) == (0, 2)
            stored = await client.get_workflow_handle(handle.instance_id).query("state")
            assert json.loads(json.dumps(stored)) == {"ns": kept}
    async with running_worker(client, queue, *simple_jobs()):
        await count.trigger()
        await eventually(lambda: _state_is(count, Total(ns=[7, 1, 3])))
        await count.terminate()
        await note.terminate()
