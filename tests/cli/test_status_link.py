"""`durable-jobs status` links to the instance in Temporal's UI."""

import pytest
from temporalio.client import Client

from durable_jobs.embedded import EmbeddedServer
from tests.cli.test_operate_command import Words
from tests.support.jobs import new_key, running_worker, until_status
from tests.support.operating import Operator

UI = "https://ui.example/"


async def test_the_address_of_the_ui_is_a_setting(
    client: Client, queue: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TEMPORAL_UI", UI)
    async with running_worker(client, queue, Words()) as jobs:
        words = jobs.debounce(Words, f"{new_key()}/#1")
        await words.add("a")
        await until_status(words, "debouncing")
        shown = await Operator(server.target)("status", words.instance_id)
    key = words.key.replace("/", "%2F").replace("#", "%23")
    assert f"{UI}namespaces/default/workflows/debounce%3Awords%3A{key}" in shown


async def test_there_is_no_link_where_no_ui_is_known(
    client: Client, queue: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DURABLE_JOBS_TEMPORAL_UI", raising=False)
    async with running_worker(client, queue, Words()) as jobs:
        words = jobs.debounce(Words, new_key())
        await words.add("a")
        await until_status(words, "debouncing")
        shown = await Operator(server.target)("status", words.instance_id)
    assert "debouncing" in shown
    assert "Temporal UI" not in shown
