"""The recipe in docs/encryption.md: with it, no word of events, states or errors is readable."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes

from durable_jobs import JobClient, JobFailed, JobStatus, NonRetryable, TaskJob, TaskRun
from durable_jobs.embedded import EmbeddedServer
from tests.support import Python, eventually
from tests.support.jobs import at_most, new_key, running_worker

DOCS = Path(__file__).parents[2] / "docs" / "encryption.md"
SECRET = "4111-1111-1111-1111"


def recipe() -> dict[str, Any]:
    """The names that the code in the docs defines."""
    [code] = re.findall(r"```python\n(# encryption\.py.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "encryption"}
    exec(compile(code, str(DOCS), "exec"), names)
    return names


class Charge(TaskJob[str, str, str]):
    """Fails with the number of a card, in ways that events ask for."""

    name = "charge"
    retry = at_most(2)
    on_exhausted = "terminate"

    def on_event(self, run: TaskRun[str], event: str) -> str:
        run.state = event
        if event.startswith("once") and run.attempt == 1:
            raise OSError(f"no answer for {event}")
        if event.startswith("fail"):
            raise NonRetryable(f"refused: {event}")
        if event.startswith("always"):
            raise ValueError(f"wrong: {event}")
        return event

    def execute(self, run: TaskRun[str]) -> None:
        """No handler sets the alarm."""


@pytest.fixture
async def encrypted(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client as the recipe makes it."""
    for name, value in server.environment.items():
        if name.startswith("TEMPORAL_"):
            monkeypatch.setenv(name, value)
    return await recipe()["connect"](os.urandom(32))


async def everything(client: Client, instance_id: str) -> bytes:
    """All that the server keeps of an instance, as bytes."""
    handle = client.get_workflow_handle(instance_id)
    described = await handle.describe()
    history = await handle.fetch_history()
    events = b"".join(event.SerializeToString() for event in history.events)
    return described.raw_description.SerializeToString() + events


async def test_neither_events_nor_errors_are_readable_and_both_reach_their_callers(
    encrypted: Client, queue: str
) -> None:
    async with running_worker(encrypted, queue, Charge()) as jobs:
        charge = jobs.task(Charge, new_key())
        assert await charge.ask(f"once {SECRET}") == f"once {SECRET}"
        assert await charge.state() == f"once {SECRET}"
        before = await everything(encrypted, charge.instance_id)
        with pytest.raises(JobFailed, match=f"refused: fail {SECRET}"):
            await charge.ask(f"fail {SECRET}")
        with pytest.raises(WorkflowFailureError) as ended:
            await encrypted.get_workflow_handle(charge.instance_id).result()
        after = await everything(encrypted, charge.instance_id)
    assert SECRET in str(ended.value.cause.__cause__ or ended.value.cause)
    assert SECRET.encode() not in before + after
    assert charge.key.encode() in after


async def test_an_error_that_is_tried_again_is_not_readable_while_it_waits(
    encrypted: Client, queue: str
) -> None:
    class Patient(Charge):
        retry = at_most(1_000)

    async with running_worker(encrypted, queue, Patient()) as jobs:
        charge = jobs.task(Patient, new_key())
        await charge.send(f"always {SECRET}")
        status = await eventually(lambda: _failing(charge))
        assert SECRET in (status.last_error or "")
        assert SECRET.encode() not in await everything(encrypted, charge.instance_id)
        await charge.terminate()


async def _failing(charge: Any) -> JobStatus | None:
    status = await charge.status()
    return status if status is not None and status.last_error else None


async def test_without_the_failure_converter_error_texts_would_be_readable(
    encrypted: Client, server: EmbeddedServer, queue: str
) -> None:
    converter = encrypted.data_converter
    assert converter.failure_converter_class is DefaultFailureConverterWithEncodedAttributes
    alone = dataclasses.replace(DataConverter.default, payload_codec=converter.payload_codec)
    client = await Client.connect(server.target, data_converter=alone)
    async with running_worker(client, queue, Charge()) as jobs:
        charge = jobs.task(Charge, new_key())
        await charge.send(f"fail {SECRET}")
        with pytest.raises(WorkflowFailureError):
            await client.get_workflow_handle(charge.instance_id).result()
        assert SECRET.encode() in await everything(client, charge.instance_id)


@pytest.mark.parametrize(
    ("command", "code", "words"), [("status", 1, []), ("state", 1, []), ("pause", 0, ["was sent"])]
)
async def test_commands_say_in_a_line_that_they_have_no_codec(
    encrypted: Client, server: EmbeddedServer, queue: str, command: str, code: int, words: list[str]
) -> None:
    async with running_worker(encrypted, queue, Charge()) as jobs:
        charge = jobs.task(Charge, new_key())
        await charge.ask("once")
        called = ("-m", "durable_jobs.cli", command, charge.instance_id)
        with Python(*called, TEMPORAL_ADDRESS=server.target) as process:
            assert await process.exit_code() == code
            [line] = process.output
        status = await charge.status()
        await charge.terminate()
    for word in ("binary/encrypted", "payload codec", *words):
        assert word in line
    assert status is not None
    assert (status.status == "paused") is (command == "pause")


async def test_a_worker_without_the_codec_ends_nothing_and_loses_nothing(
    encrypted: Client, client: Client, queue: str
) -> None:
    jobs = JobClient(encrypted, task_queue=queue)
    charge = jobs.task(Charge, new_key())
    await charge.send("first")
    async with running_worker(client, queue, Charge()):
        await charge.send("second")
        await eventually(lambda: _waits_visibly(encrypted, charge.instance_id))
    async with running_worker(encrypted, queue, Charge()):
        assert await charge.ask("third") == "third"
        status = await charge.status()
        assert status is not None
        assert (status.handled_events, status.rejected_events) == (3, 0)
        await charge.terminate()


async def _waits_visibly(client: Client, instance_id: str) -> bool:
    history = await client.get_workflow_handle(instance_id).fetch_history()
    failures = [
        event.workflow_task_failed_event_attributes.failure.message
        for event in history.events
        if event.HasField("workflow_task_failed_event_attributes")
    ]
    return any("payload codec" in message for message in failures)
