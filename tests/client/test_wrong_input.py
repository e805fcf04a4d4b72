"""No signal, update or start argument makes an instance stop answering."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import ApplicationError

from tests.support.jobs import new_key
from tests.support.wrong_input import (
    BARE,
    BATCH,
    NOT_A_BATCH,
    NOT_A_PUSH,
    NOT_JSON,
    ONE_EVENT,
    WORKFLOWS,
    Handle,
    Raw,
    raw_bench,
    refusal,
    result_of,
)


@pytest.fixture(scope="module")
async def raw(client: Client) -> AsyncIterator[Raw]:
    async with raw_bench(client) as bench:
        yield bench


# -- signals


@pytest.mark.parametrize(("kind", "signal"), [*ONE_EVENT, *BATCH])
async def test_a_signal_with_a_wrong_number_of_arguments_is_rejected_with_the_reason(
    raw: Raw, kind: str, signal: str
) -> None:
    handle = await raw.started(kind)
    event = {"n": 5} if (kind, signal) in ONE_EVENT else {"events": [{"data": {"n": 5}}]}
    await handle.signal(signal)
    assert f"{signal}: " in await raw.rejected(handle, 1)
    await handle.signal(signal, args=[event, event])
    assert "2 arguments" in await raw.rejected(handle, 2)
    await raw.still_works(handle, kind)


@pytest.mark.parametrize(("kind", "verb"), BARE)
async def test_a_verb_with_an_argument_it_does_not_take_is_rejected_with_the_reason(
    raw: Raw, kind: str, verb: str
) -> None:
    handle = await raw.started(kind)
    before = await handle.query("status")
    await handle.signal(verb, {"n": 5})
    assert f"{verb}: " in await raw.rejected(handle, 1)
    await handle.signal(verb, args=["a", "b"])
    await raw.rejected(handle, 2)
    after = await handle.query("status")
    assert (after["status"], after["runCount"]) == (before["status"], before["runCount"])
    await raw.still_works(handle, kind)


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_a_terminate_with_two_arguments_is_rejected(raw: Raw, kind: str) -> None:
    handle = await raw.started(kind)
    await handle.signal("terminate", args=["a", "b"])
    assert "terminate: " in await raw.rejected(handle, 1)
    await raw.still_works(handle, kind)


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_terminate_ends_an_instance_whatever_its_reason_is(raw: Raw, kind: str) -> None:
    async def status_after(reason: Any) -> str:
        handle = await raw.started(kind)
        await handle.signal("terminate", reason)
        return (await result_of(handle))["status"]

    reasons = [5, None, ["a"], {"reason": "b"}, *NOT_JSON.values()]
    ends = await asyncio.gather(*(status_after(reason) for reason in reasons))
    assert ends == ["terminated"] * len(reasons)


@pytest.mark.parametrize(("kind", "signal"), ONE_EVENT)
async def test_an_event_that_does_not_fit_is_rejected_with_the_reason(
    raw: Raw, kind: str, signal: str
) -> None:
    handle = await raw.started(kind)
    for number, event in enumerate({**NOT_A_PUSH, **NOT_JSON}.values(), 1):
        await handle.signal(signal, event)
        assert await raw.rejected(handle, number)
    status = await handle.query("status")
    assert status["eventCount"] == (1 if kind == "debounce" else 0)
    assert await handle.query("state") == {"ns": [1]}
    await raw.still_works(handle, kind)


@pytest.mark.parametrize(("kind", "signal"), BATCH)
async def test_a_batch_of_another_shape_is_rejected_with_what_is_expected(
    raw: Raw, kind: str, signal: str
) -> None:
    handle = await raw.started(kind)
    for number, batch in enumerate({**NOT_A_BATCH, **NOT_JSON}.values(), 1):
        await handle.signal(signal, batch)
        assert f"{signal}: " in await raw.rejected(handle, number)
    await handle.signal(signal, 5)
    assert '{"events": [{"data": ' in await raw.rejected(handle, number + 1)
    assert await handle.query("state") == {"ns": [1]}
    await raw.still_works(handle, kind)


@pytest.mark.parametrize(("kind", "signal"), BATCH)
async def test_good_events_of_a_batch_are_taken_and_each_bad_one_is_counted(
    raw: Raw, kind: str, signal: str
) -> None:
    handle = await raw.started(kind)
    events = [{"data": {"n": 2}}, 5, {"data": {"n": 3}, "id": "x"}, {}, {"data": "no push"}]
    await handle.signal(signal, {"events": events})
    await raw.rejected(handle, 3)
    assert await handle.query("state") == {"ns": [1, 2, 3]}
    await raw.still_works(handle, kind)


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_an_unknown_signal_changes_nothing(raw: Raw, kind: str) -> None:
    handle = await raw.started(kind)
    before = await handle.query("status")
    for name in ("explode", "Add", "execute", "durable_jobs.report", "status"):
        for arguments in ([], [{"n": 1}], [1, 2], list(NOT_JSON.values())[:1]):
            await handle.signal(name, args=arguments)
    assert await handle.query("status") == before
    await raw.still_works(handle, kind)


@pytest.mark.parametrize(("kind", "signal"), ONE_EVENT)
async def test_only_the_last_20_reasons_are_kept(raw: Raw, kind: str, signal: str) -> None:
    handle = await raw.started(kind)
    for n in range(25):
        await handle.signal(signal, args=[n, n])
    await raw.rejected(handle, 25)
    assert len((await handle.query("status"))["rejections"]) == 20
    await raw.still_works(handle, kind)


async def test_a_wrong_event_alone_opens_a_window_that_flushes_without_a_run(raw: Raw) -> None:
    key = new_key()
    handle = await raw.start(
        "debounce",
        {"job": "held", "key": key},
        key,
        start_signal="add",
        start_signal_args=[],
    )
    await raw.rejected(handle, 1)
    await handle.signal("flush")
    assert await result_of(handle) == {
        "status": "completed",
        "reason": None,
        "runCount": 0,
        "discardedEvents": 0,
    }


# -- updates and queries


@pytest.mark.parametrize(("kind", "update"), [*ONE_EVENT, ("task", "ask"), *BATCH])
async def test_an_update_with_a_wrong_number_of_arguments_is_refused(
    raw: Raw, kind: str, update: str
) -> None:
    handle = await raw.started(kind)
    assert "argument" in await refusal(handle, update)
    assert "2 arguments" in await refusal(handle, update, {"n": 1}, {"n": 1})
    await raw.still_works(handle, kind)


@pytest.mark.parametrize(("kind", "verb"), BARE)
async def test_an_update_of_a_verb_with_an_argument_is_refused(
    raw: Raw, kind: str, verb: str
) -> None:
    handle = await raw.started(kind)
    assert "takes no argument" in await refusal(handle, verb, {"n": 5})
    await raw.still_works(handle, kind)


@pytest.mark.parametrize(("kind", "update"), [*ONE_EVENT, ("task", "ask")])
async def test_an_update_with_an_event_that_does_not_fit_is_refused_with_the_place(
    raw: Raw, kind: str, update: str
) -> None:
    handle = await raw.started(kind)
    for event in {**NOT_A_PUSH, **NOT_JSON}.values():
        assert await refusal(handle, update, event)
    reason = await refusal(handle, update, {"n": "a secret"})
    assert reason.startswith("n: ")
    assert "secret" not in reason
    await raw.still_works(handle, kind)


@pytest.mark.parametrize(("kind", "update"), BATCH)
async def test_an_update_with_a_wrong_batch_is_refused_as_a_whole(
    raw: Raw, kind: str, update: str
) -> None:
    handle = await raw.started(kind)
    for batch in {**NOT_A_BATCH, **NOT_JSON}.values():
        assert await refusal(handle, update, batch)
    one_bad = {"events": [{"data": {"n": 2}}, {"data": {"n": "x"}}]}
    assert "n: " in await refusal(handle, update, one_bad)
    assert await handle.query("state") == {"ns": [1]}
    await raw.still_works(handle, kind)


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_an_unknown_update_is_refused_by_name(raw: Raw, kind: str) -> None:
    handle = await raw.started(kind)
    for name in ("explode", "status", "durable_jobs.report"):
        assert name in await refusal(handle, name)
    await raw.still_works(handle, kind)


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_a_query_with_arguments_or_an_unknown_name_does_no_harm(raw: Raw, kind: str) -> None:
    handle = await raw.started(kind)
    for query in ("status", "state"):
        await handle.query(query, args=[1, {"n": 2}])
        with pytest.raises(WorkflowQueryFailedError, match="decoding"):
            await handle.query(query, args=list(NOT_JSON.values()))
    with pytest.raises(WorkflowQueryFailedError, match="explode"):
        await handle.query("explode")
    await raw.still_works(handle, kind)


# -- the start argument

WRONG_STARTS: dict[str, list[Any]] = {
    "none": [],
    "two": [{"job": "held", "key": "KEY"}, 1],
    "a number": [5],
    "a string": ["held"],
    "null": [None],
    "a list": [["held", "KEY"]],
    "empty": [{}],
    "no key": [{"job": "held"}],
    "no job": [{"key": "KEY"}],
    "a key that is a number": [{"job": "held", "key": 5}],
    "another key": [{"job": "held", "key": "other"}],
    "another job": [{"job": "count", "key": "KEY"}],
    "a carry of another shape": [{"job": "held", "key": "KEY", "carry": 5}],
    "an empty carry": [{"job": "held", "key": "KEY", "carry": {}}],
    **{f"with {name}": [value] for name, value in NOT_JSON.items()},
}


async def test_an_instance_started_with_a_wrong_argument_fails_and_says_what_is_expected(
    raw: Raw,
) -> None:
    async def message_of(name: str) -> str:
        key = new_key()
        arguments = [
            {**value, "key": key} if isinstance(value, dict) and "KEY" in value.values() else value
            for value in WRONG_STARTS[name]
        ]
        handle = await raw.client.start_workflow(
            "DebounceJob",
            args=arguments,
            id=f"debounce:held:{key}",
            task_queue=raw.queue,
            start_signal="add",
            start_signal_args=[{"n": 1}],
        )
        return await failure(handle)

    messages = await asyncio.gather(*(message_of(name) for name in WRONG_STARTS))
    for name, message in zip(WRONG_STARTS, messages, strict=True):
        assert message, name


async def failure(handle: Handle) -> str:
    """With what an instance failed at its start."""
    with pytest.raises(WorkflowFailureError) as failed:
        await result_of(handle)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "InvalidStart"
    return cause.message


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_a_workflow_id_that_names_another_instance_is_refused(raw: Raw, kind: str) -> None:
    key = new_key()
    handle = await raw.start(kind, {"job": "elsewhere", "key": key}, key)
    assert f"'{kind}:elsewhere:{key}'" in await failure(handle)


async def test_a_start_with_a_state_version_that_is_no_number_fails(raw: Raw) -> None:
    key = new_key()
    argument = {"job": "count", "key": key, "state": {"ns": []}, "stateVersion": "x"}
    assert "stateVersion" in await failure(await raw.start("continuous", argument, key))
