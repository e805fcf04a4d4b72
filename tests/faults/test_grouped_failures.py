"""Failures of several things at once: what is in an `ExceptionGroup` is told, within bounds."""

import asyncio
from typing import NoReturn

from pydantic import TypeAdapter
from temporalio.client import Client

from durable_jobs import DebounceRun
from durable_jobs.activities.failures import MAX_MESSAGE, MAX_STACK, message_of, stack_of
from tests.faults.test_odd_failures import FirstFails, first_failed
from tests.support.lives import Event

SECRET = "s3cret-value"
REFUSED = "Input should be a valid integer, unable to parse string as an integer"


async def lookup() -> NoReturn:
    try:
        {}["page"]
    except KeyError as error:
        raise LookupError("no such page") from error


async def validate() -> None:
    TypeAdapter(int).validate_python(SECRET)


async def both() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lookup())
        tasks.create_task(validate())


class InTasks(FirstFails):
    """Works in tasks of a group, which has one of its own."""

    name = "in-tasks"

    async def execute(self, run: DebounceRun[list[int]]) -> None:
        if run.attempt == 1:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(both())


async def told(client: Client, queue: str) -> Event:
    events = await first_failed(client, queue, InTasks(lambda: None))
    return events[1]["error"]


async def test_the_errors_in_nested_task_groups_are_told_and_quote_no_data(
    client: Client, queue: str
) -> None:
    error = await told(client, queue)
    assert error["message"] == (
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception): "
        "LookupError: no such page; "
        f"ValidationError: 1 validation error for int: {REFUSED}"
    )
    stack = error["stack"]
    inner = ["in execute", "in both", "KeyError: 'page'", "  | LookupError: no such page"]
    places = [stack.index(text) for text in (*inner, "in validate")]
    assert places == sorted(places)
    assert f"  | ValidationError: 1 validation error for int: {REFUSED}" in stack
    assert SECRET not in str(error)


def test_of_a_large_group_the_first_errors_are_told_in_bounds() -> None:
    group = ExceptionGroup("all", [ValueError(f"{n} " + "x" * 5_000) for n in range(1, 5_000)])
    message, stack = message_of(group), stack_of(group)
    assert message.startswith("all (4999 sub-exceptions): ValueError: 1 xxx")
    assert "; ValueError: 4 xxx" in message
    assert len(message) <= MAX_MESSAGE
    assert "+---------------- 5 ---" in stack
    assert stack.endswith("+---------------- and 4994 more")
    assert len(stack) <= MAX_STACK


def test_of_short_errors_the_message_says_that_there_are_more() -> None:
    group = ExceptionGroup("all", [ValueError(n) for n in range(6)])
    assert message_of(group).endswith("; ValueError: 4; …")


def test_groups_within_groups_without_end_are_told_in_bounds() -> None:
    error: Exception = ValueError("the innermost")
    for _ in range(5_000):
        error = ExceptionGroup("all", [error])
    assert message_of(error) == "all (1 sub-exception): ValueError: the innermost"
    assert len(stack_of(error)) <= MAX_STACK
