"""A method whose body would never run, or that nothing waits for, is refused with the job."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import DebounceJob, DebounceRun, JobsPlugin, TaskJob, TaskRun
from durable_jobs.definitions import Job
from tests.definitions.jobs import Latest, Poll, Sums, Triage, but, refusal
from tests.support.jobs import QUICK, last_error_of, new_key, running_worker
from tests.support.scripted import Push, Total


async def async_generator(*args: Any) -> AsyncIterator[int]:
    yield 1


def generator(*args: Any) -> Iterator[int]:
    yield 1


class Called:
    """An object in the place of a function."""

    async def __call__(self, *args: Any) -> AsyncIterator[int]:
        yield 1


GENERATORS = [
    async_generator,
    generator,
    functools.partial(async_generator, 1),
    functools.partialmethod(generator, 1),
    staticmethod(async_generator),
    classmethod(generator),
    Called(),
    lambda *args: (yield),
]
HANDLERS = [
    (Latest, "execute"),
    (Poll, "execute"),
    *((Triage, handler) for handler in ("on_event", "execute", "on_idle", "on_error")),
    (Sums, "reduce"),
    (Triage, "initial_state"),
    (Poll, "initial_state"),
    (Sums, "upgrade_state"),
]


@pytest.mark.parametrize(("job", "name"), HANDLERS)
@pytest.mark.parametrize("method", GENERATORS)
def test_a_generator_in_the_place_of_a_method_is_refused(
    job: type[Job], name: str, method: object
) -> None:
    message = refusal(but(job, **{name: method})())
    assert message.startswith(f"{job.__name__}: {name} is a generator")
    assert "take its yield out" in message


def test_a_generator_that_an_instance_has_is_refused() -> None:
    class Own(Latest):
        def __init__(self) -> None:
            self.execute = async_generator  # type: ignore[method-assign,assignment]

    assert "execute is a generator" in refusal(Own())


async def waits(*args: Any) -> Any:
    """Nothing."""


@pytest.mark.parametrize("name", ["reduce", "upgrade_state", "initial_state"])
@pytest.mark.parametrize("method", [waits, functools.partial(waits, 1), staticmethod(waits)])
def test_a_method_that_nothing_waits_for_may_not_be_async(name: str, method: object) -> None:
    job = Sums if name == "reduce" else Triage
    message = refusal(but(job, **{name: method})())
    assert message.startswith(f"{job.__name__}: {name} is async")
    assert "plain def" in message


def test_plain_and_async_handlers_are_taken_however_they_are_written() -> None:
    def decorated(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def collected(*args: Any) -> Any:
            return list(handler(*args))

        return collected

    for method in (waits, lambda *args: None, functools.partial(waits, 1), decorated(generator)):
        JobsPlugin([but(Latest, execute=method)()])


# -- what no look at the definition shows


class Managed(DebounceJob[Push]):
    """Its handler gives a context manager, whose body nobody enters."""

    name = "managed"
    flush_after = timedelta(milliseconds=50)
    retry = QUICK

    @asynccontextmanager
    async def execute(self, run: DebounceRun[Push]) -> AsyncIterator[None]:  # type: ignore[override]
        yield


class Delegating(TaskJob[Push, Total]):
    """Its handler gives what another one made."""

    name = "delegating"
    retry = QUICK

    async def on_event(self, run: TaskRun[Total], event: Push) -> None:
        return generator()  # type: ignore[return-value]

    @contextmanager
    def execute(self, run: TaskRun[Total]) -> Iterator[None]:  # type: ignore[override]
        yield


def behind(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: method(*args)


class Reducing(DebounceJob[Push, Total]):
    name = "reducing"
    flush_after = timedelta(milliseconds=50)
    retry = QUICK
    reduce = behind(waits)  # type: ignore[assignment]

    async def execute(self, run: DebounceRun[Total]) -> None:
        """Nothing."""


async def test_a_generator_behind_a_decorator_fails_its_run_and_no_event_is_lost(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Managed(), Delegating(), Reducing()) as jobs:
        managed = jobs.debounce(Managed, new_key())
        await managed.add(Push())
        assert "Managed: execute is a generator" in await last_error_of(managed)
        delegating = jobs.task(Delegating, new_key())
        await delegating.send(Push())
        assert "Delegating: on_event is a generator" in await last_error_of(delegating)
        reducing = jobs.debounce(Reducing, new_key())
        await reducing.add(Push())
        assert "is async" in await last_error_of(reducing)
        for handle in (managed, reducing):
            status = await handle.status()
            assert status is not None
            assert (status.event_count, status.rejected_events) == (1, 0)
            await handle.terminate()
        await delegating.terminate()
