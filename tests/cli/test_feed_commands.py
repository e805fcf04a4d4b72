"""`add`, `send`, `ask`, `enqueue` and `start`, as processes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import JobClient
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.handles.worker_pool import index_of
from tests.cli.feed_jobs import Adder, Cursor, Letters, Pages, Pushes
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, until_settled
from tests.support.operating import Operator

CHECKED = ("--jobs", "tests.cli.feed_jobs:jobs")


@pytest.fixture
def operate(server: EmbeddedServer, queue: str, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", queue)
    return Operator(server.target)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
async def jobs(client: Client, queue: str, letters: Letters) -> AsyncIterator[JobClient]:
    async with running_worker(client, queue, Pushes(), Adder(), Pages(), letters) as jobs:
        yield jobs


def push(number: int) -> dict[str, Any]:
    return {"repo": f"r{number}", "on": "2026-01-02"}


@pytest.mark.parametrize("options", [(), CHECKED], ids=["any JSON", "with the job's types"])
async def test_events_are_added_from_an_argument_a_file_and_standard_input(
    jobs: JobClient, operate: Operator, options: tuple[str, ...], tmp_path: Path
) -> None:
    pushes = jobs.debounce(Pushes, new_key())
    said = await operate("add", pushes.instance_id, json.dumps(push(0)), *options)
    assert said == f"{pushes.instance_id}: 1 event taken\n"
    lines = tmp_path / "events.jsonl"
    lines.write_text("\n\n".join(json.dumps(push(number)) for number in (1, 2)))
    said = await operate("add", pushes.instance_id, "--file", str(lines), *options)
    assert "2 events taken" in said
    more = "".join(f"{json.dumps(push(number))}\n" for number in range(3, 300))
    await operate("add", pushes.instance_id, *options, stdin=more)
    state = await pushes.state()
    assert [each.repo for each in state or []] == [f"r{number}" for number in range(300)]
    await pushes.terminate()


async def test_the_variable_says_too_where_the_job_is(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_JOBS_JOBS", CHECKED[1])
    said = await Operator(server.target)(
        "add", f"debounce:pushes:{new_key()}", '{"repo": "r", "on": "secret"}', code=2
    )
    assert "on: " in said


async def test_a_file_that_is_added_again_by_its_id_adds_nothing(
    jobs: JobClient, operate: Operator
) -> None:
    pushes = jobs.debounce(Pushes, new_key())
    lines = "".join(f"{json.dumps(push(number))}\n" for number in range(5))
    for _ in range(2):
        await operate("add", pushes.instance_id, "--id", "import-7", stdin=lines)
    assert len(await pushes.state() or []) == 5
    await pushes.terminate()


async def test_an_event_that_does_not_fit_is_named_by_its_line_and_the_others_are_taken(
    jobs: JobClient, operate: Operator
) -> None:
    pushes = jobs.debounce(Pushes, new_key())
    lines = f'{json.dumps(push(0))}\n{{"repo": "r", "on": "secret"}}\nhello\n{json.dumps(push(1))}'
    said = await operate("add", pushes.instance_id, *CHECKED, stdin=lines, code=2)
    assert "line 2: on: " in said
    assert "secret" not in said
    assert "line 3: the event is no JSON" in said
    assert "2 events taken, 2 failed" in said
    assert len(await pushes.state() or []) == 2
    await pushes.terminate()


async def test_a_task_is_sent_events_and_asked(jobs: JobClient, operate: Operator) -> None:
    adder = jobs.task(Adder, new_key())
    await operate("send", adder.instance_id, "2")
    await until_settled(adder)
    assert await operate("ask", adder.instance_id, "3", *CHECKED) == "5\n"
    assert await operate("ask", adder.instance_id, stdin="1\n1\n1\n") == "6\n7\n8\n"
    assert "valid integer" in await operate("ask", adder.instance_id, '"x"', *CHECKED, code=2)
    await adder.terminate()


async def test_a_pool_gets_the_events_of_one_key_in_one_instance(
    jobs: JobClient, operate: Operator, letters: Letters
) -> None:
    words = ("enqueue", "workerPool:letters", "--partition-key", "ada")
    await operate(*words, *CHECKED, stdin='"a"\n"b"\n')
    await operate(*words, '"c"', "--concurrency", "3", "--json")
    index = index_of("ada", 3)
    await eventually(lambda: letters.sent == [(index, "a"), (index, "b"), (index, "c")])
    await jobs.worker_pool(Letters).terminate()


async def test_a_continuous_instance_is_started_once_from_a_state(
    jobs: JobClient, operate: Operator
) -> None:
    pages = jobs.continuous(Pages, new_key())
    said = await operate("start", pages.instance_id, '{"page": 7}', *CHECKED)
    assert said == f"{pages.instance_id}: started\n"
    assert await pages.state() == Cursor(page=7)
    assert "is alive already (scheduled)" in await operate("start", pages.instance_id)
    said = await operate("start", pages.instance_id, '{"page": "x"}', *CHECKED, code=2)
    assert "the state does not fit: page: " in said
    await pages.terminate()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "task:adder:a", "1"), "add is for debounce jobs, and task:adder:a is a task job"),
        (("add", "pushes:a", "1"), "is no instance ID"),
        (("add", "debounce:pushes:a", "hello"), "A text needs its quotes too"),
        (("add", "debounce:pushes:a", "1", "--file", "x"), "not both"),
        (("add", "debounce:pushes:a", "--file", "/nowhere"), "/nowhere cannot be read: No such"),
        (("add", "debounce:other:a", "1", *CHECKED), "no debounce job is named 'other' in tests"),
        (("add", "debounce:pushes:a", "1", "--jobs", "nowhere:jobs"), "no module 'nowhere'"),
        (("enqueue", "workerPool:letters", '"a"'), "say where the job is (--jobs), or its --conc"),
        (("enqueue", "letters", '"a"'), "is no pool like workerPool:deliver"),
    ],
)
async def test_what_cannot_be_fed_is_refused(
    operate: Operator, words: tuple[str, ...], message: str
) -> None:
    assert message in await operate(*words, code=2)


async def test_an_ask_that_no_worker_answers_ends_in_time(operate: Operator) -> None:
    said = await operate("ask", f"task:adder:{new_key()}", "1", "--timeout", "1", code=4)
    assert "no worker answered within 1 s" in said
