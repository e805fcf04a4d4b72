"""Task instances that live on while their job's code changes."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.client import Client

from durable_jobs import JobsPlugin, RetryAfter, TaskJob, TaskRun
from durable_jobs.wire import JSON
from tests.support import eventually
from tests.support.jobs import (
    at_most,
    new_key,
    running_worker,
    status_of,
    until_settled,
    until_status,
)
from tests.support.lives import assert_replays, histories_of


class Before(BaseModel):
    words: list[str] = []


class Words(TaskJob[str, Before, int]):
    """As it was when the instances began."""

    name = "words"
    retry = at_most(2)

    async def on_event(self, run: TaskRun[Before], event: str) -> int:
        run.state.words.append(event)
        return len(run.state.words)

    async def execute(self, run: TaskRun[Before]) -> None:
        """No handler sets the alarm."""

    async def on_idle(self, run: TaskRun[Before]) -> None:
        run.state.words.append("idle")


class WithDefault(BaseModel):
    words: list[str] = []
    count: int = 0


class Required(BaseModel):
    words: list[str]
    count: int


class Defaulted(TaskJob[str, WithDefault, int]):
    """A new field with a default; `on_idle` has gone, or has another name."""

    name = "words"
    retry = at_most(2)

    async def on_event(self, run: TaskRun[WithDefault], event: str) -> int:
        run.state.words.append(event)
        run.state.count += 1
        return len(run.state.words)

    async def execute(self, run: TaskRun[WithDefault]) -> None:
        """No handler sets the alarm."""


class NotUpgraded(TaskJob[str, Required, int]):
    """A new field that old states lack."""

    name = "words"
    retry = at_most(2)

    def initial_state(self, key: str) -> Required:
        return Required(words=[], count=0)

    async def on_event(self, run: TaskRun[Required], event: str) -> int:
        run.state.words.append(event)
        run.state.count += 1
        return run.state.count

    async def execute(self, run: TaskRun[Required]) -> None:
        """No handler sets the alarm."""


class Upgraded(NotUpgraded):
    """The same, and old states get it."""

    state_version = 2

    def upgrade_state(self, version: int, data: JSON) -> JSON:
        return {**data, "count": len(data["words"])}


class MorePatient(Words):
    """Tries more often, and for longer."""

    retry = at_most(5)
    failing = 3

    async def on_event(self, run: TaskRun[Before], event: str) -> int:
        if run.attempt < self.failing:
            raise ValueError("not yet")
        return await super().on_event(run, event)


async def begun(client: Client, queue: str, *events: str) -> Any:
    """An instance of the job as it was."""
    async with running_worker(client, queue, Words()) as jobs:
        words = jobs.task(Words, new_key())
        for event in events:
            await words.send(event)
        await until_settled(words)
        await eventually(lambda: _was_idle(words))
    return words


async def _was_idle(words: Any) -> bool:
    return (await words.state()).words[-1] == "idle"


async def replays(client: Client, queue: str) -> None:
    """All histories replay with the code as it was, and as it is in any later form."""
    histories = await histories_of(client, queue)
    for job in (Words, Defaulted, NotUpgraded, Upgraded, MorePatient):
        await assert_replays(histories, JobsPlugin([job()]))


@pytest.mark.parametrize(
    ("job", "count"), [(Defaulted, 1), (Upgraded, 3)], ids=["a default", "an upgrade"]
)
async def test_a_state_gets_a_new_field_by(
    client: Client, queue: str, job: Any, count: int
) -> None:
    words = await begun(client, queue, "one")
    async with running_worker(client, queue, job()) as jobs:
        changed = jobs.task(job, words.key)
        await changed.ask("two")
        status = await until_status(changed, "idle")
        state: Any = await changed.state()
        assert (state.words, state.count) == (["one", "idle", "two"], count)
        assert status.run_count == 3
        await changed.terminate()
    await replays(client, queue)


async def test_a_state_that_no_longer_fits_is_kept_and_its_events_are_set_aside(
    client: Client, queue: str
) -> None:
    words = await begun(client, queue, "one")
    async with running_worker(client, queue, NotUpgraded()) as jobs:
        await jobs.task(NotUpgraded, words.key).send("two")
        status = await eventually(lambda: _failed(words))
        [failed] = status.failed_events
        assert failed["event"]["data"] == "two"
        assert failed["attempts"] == 1
        assert "count" in status.last_error
    async with running_worker(client, queue, Upgraded()) as jobs:
        changed = jobs.task(Upgraded, words.key)
        assert await changed.redrive() == 1
        assert await eventually(lambda: _counted(changed)) == ["one", "idle", "two"]
        assert not (await status_of(changed)).failed_events
        await changed.terminate()
    await replays(client, queue)


async def _failed(words: Any) -> Any:
    status = await status_of(words)
    return status if status.failed_events and status.status == "idle" else None


async def _counted(changed: Any) -> Any:
    state = await changed.state()
    return state.words if state.count == 3 else None


async def test_an_optional_handler_that_has_gone_is_left_out(client: Client, queue: str) -> None:
    class Late(Words):
        async def on_idle(self, run: TaskRun[Before]) -> None:
            raise RetryAfter(timedelta(milliseconds=500), "not yet")

    async with running_worker(client, queue, Late()) as jobs:
        words = jobs.task(Late, new_key())
        await words.send("one")
        await until_status(words, "retrying")
    # It tries `on_idle` again, which no worker has any more.
    async with running_worker(client, queue, Defaulted()) as jobs:
        changed = jobs.task(Defaulted, words.key)
        status = await eventually(lambda: _left_out(changed))
        assert (status.status, status.run_count) == ("idle", 2)
        assert await changed.ask("two") == 2
        assert (await status_of(changed)).last_error is None
        await changed.terminate()
    await replays(client, queue)


async def _left_out(changed: Any) -> Any:
    status = await status_of(changed)
    error = "the job has no on_idle any more; the call is left out"
    return status if status.last_error == error and status.status == "idle" else None


async def test_a_changed_retry_rule_holds_from_the_next_failure_on(
    client: Client, queue: str
) -> None:
    words = await begun(client, queue, "one")
    async with running_worker(client, queue, MorePatient()):
        # The old rule would have given up after two attempts.
        await words.send("two")
        await eventually(lambda: _has(words, "two"))
        await words.terminate()
    await replays(client, queue)


async def _has(words: Any, word: str) -> bool:
    return word in (await words.state()).words
