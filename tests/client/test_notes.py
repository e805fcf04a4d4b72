"""Who paused an instance and why, as its status tells it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client

from tests.support import eventually
from tests.support.jobs import until_status
from tests.support.simple_jobs import Count
from tests.support.wrong_input import JOBS, WORKFLOWS, Raw, raw_bench


@pytest.fixture(scope="module")
async def raw(client: Client) -> AsyncIterator[Raw]:
    async with raw_bench(client) as bench:
        yield bench


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_a_pause_and_a_resume_keep_who_and_why(raw: Raw, kind: str) -> None:
    instance = await raw.started(kind)
    await instance.signal("pause", "ada: the API is down")
    paused = await _status(instance, "paused")
    assert (paused["pausedBy"], paused["pauseNote"]) == ("user", "ada: the API is down")
    await instance.signal("pause")
    assert (await instance.query("status"))["pausedAt"] == paused["pausedAt"]
    await instance.execute_update("resume", "bob: it is up again")
    resumed = await instance.query("status")
    assert resumed["resumeNote"] == "bob: it is up again"
    assert (resumed["pausedAt"], resumed["pausedBy"], resumed["pauseNote"]) == (None, None, None)
    assert resumed["resumedAt"] > paused["pausedAt"]
    await raw.still_works(instance, kind)


@pytest.mark.parametrize("kind", WORKFLOWS)
async def test_a_long_note_is_cut(raw: Raw, kind: str) -> None:
    instance = await raw.started(kind)
    await instance.signal("pause", "x" * 5_000)
    assert (await _status(instance, "paused"))["pauseNote"] == "x" * 1_000
    await raw.still_works(instance, kind)


async def test_a_client_gives_and_reads_notes(raw: Raw) -> None:
    instance = await raw.started("continuous")
    key = instance.id.removeprefix(f"continuous:{JOBS['continuous']}:")
    handle = raw.jobs.continuous(Count, key)
    assert await handle.pause("ada: maintenance")
    paused = await until_status(handle, "paused")
    assert (paused.paused_by, paused.pause_note) == ("user", "ada: maintenance")
    assert paused.paused_at is not None
    assert await handle.resume("done")
    status = await until_status(handle, "scheduled")
    assert (status.paused_at, status.resume_note) == (None, "done")
    await handle.terminate()


async def _status(instance: Any, word: str) -> dict[str, Any]:
    async def reached() -> Any:
        status = await instance.query("status")
        return status if status["status"] == word else None

    return await eventually(reached)
