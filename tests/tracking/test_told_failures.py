"""How failures read: type and text together, in one line where a handler only asks to wait."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from temporalio.client import Client
from temporalio.converter import PayloadConverter
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from durable_jobs import (
    DebounceJob,
    DebounceRun,
    JobFailed,
    Retry,
    RetryAfter,
    Snooze,
    TaskJob,
    TaskRun,
)
from durable_jobs.activities.failures import (
    MAX_DETAILS,
    category_of,
    decide,
    details_of,
    in_a_line,
    message_of,
    stack_of,
    titled,
    type_of,
)
from tests.attempts.test_decisions import NOW, options_with, request_of
from tests.support import eventually
from tests.support.jobs import new_key, running_worker, status_of
from tests.support.lives import in_order, tracked_worker

SOON = timedelta(milliseconds=50)
JSON = PayloadConverter.default


class OutOfStock(Exception):
    """An error of the user's."""


class Careless(ApplicationError):
    """Its own `__init__` forgets that of its base."""

    def __init__(self) -> None:
        Exception.__init__(self, "careless")


class CarelessWait(RetryAfter):
    def __init__(self) -> None:
        Exception.__init__(self, "some time later")


class Amount(BaseModel):
    cents: int


def _refused() -> ValidationError:
    try:
        Amount.model_validate({"cents": "s3cret"})
    except ValidationError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (KeyError("sku"), "KeyError: 'sku'"),
        (LookupError("sku"), "LookupError: sku"),
        (IndexError("list index out of range"), "IndexError: list index out of range"),
        (ValueError(5), "ValueError: 5"),
        (ValueError(), "ValueError"),
        (AssertionError(), "AssertionError"),
        (StopIteration(3), "StopIteration: 3"),
        (OutOfStock("none left", 5), "OutOfStock: ('none left', 5)"),
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused"),
        (RetryAfter(SOON, "busy"), "RetryAfter: busy"),
        (ApplicationError("declined", type="Card"), "Card: declined"),
        (ApplicationError("declined"), "ApplicationError: declined"),
        (ApplicationError("", type="Card"), "Card"),
        (ApplicationError(5), "ApplicationError: 5"),  # type: ignore[arg-type]
        (ApplicationError("no", type=KeyError), "<class 'KeyError'>: no"),  # type: ignore[arg-type]
        (Careless(), "Careless: careless"),
        (
            _refused(),
            "ValidationError: 1 validation error for Amount: cents: Input should be a valid "
            "integer, unable to parse string as an integer",
        ),
    ],
    ids=repr,
)
def test_type_and_text_of_an_error_belong_together(error: Exception, shown: str) -> None:
    assert titled(error) == shown
    assert stack_of(error).splitlines()[-1] == shown
    assert titled(error) in (type_of(error), f"{type_of(error)}: {message_of(error)}")


def test_a_text_of_several_lines_is_one_in_the_log() -> None:
    assert in_a_line(ValueError("one\n  two\r\nthree")) == "ValueError: one two three"


@pytest.mark.parametrize("error", [Careless(), CarelessWait()], ids=repr)
def test_an_error_that_says_nothing_of_its_wait_is_tried_again_by_the_jobs_rule(
    error: Exception,
) -> None:
    decided = decide(error, request_of(1), options_with(initial=SOON, jitter=False), NOW, NOW)
    assert decided.retry_in == SOON


def test_details_that_cannot_be_written_are_left_out_and_named() -> None:
    details = ({"a": 1}, object(), {(1, 2): 3}, "text", "x" * MAX_DETAILS)
    assert details_of(ApplicationError("no", *details), JSON) == [
        {"a": 1},
        "left out: JSON cannot hold an instance of object",
        "left out: JSON cannot hold an instance of dict",
        "text",
        f"left out: {JSON.to_payload('x' * MAX_DETAILS).ByteSize():,} bytes are too much",
    ]
    assert details_of(ValueError("no"), JSON) == details_of(Careless(), JSON) == []


def test_only_an_expected_failure_is_benign() -> None:
    assert category_of(RetryAfter(SOON)) == ApplicationErrorCategory.BENIGN
    assert category_of(Snooze(SOON)) == ApplicationErrorCategory.BENIGN
    benign = ApplicationError("no", category=ApplicationErrorCategory.BENIGN)
    assert category_of(benign) == ApplicationErrorCategory.BENIGN
    for error in (ValueError("no"), ApplicationError("no"), Careless()):
        assert category_of(error) == ApplicationErrorCategory.UNSPECIFIED


class Fails(DebounceJob[int]):
    """Fails in its first attempt, as it is told."""

    name = "fails"
    flush_after = SOON
    retry = Retry(max_attempts=2, initial=timedelta(hours=1), maximum=timedelta(hours=1))

    def __init__(self, fail: Callable[[], Exception]) -> None:
        self._fail = fail

    async def execute(self, run: DebounceRun[int]) -> None:
        if run.attempt == 1:
            raise self._fail()


async def test_details_that_json_cannot_hold_cost_neither_text_nor_wait(
    client: Client, queue: str
) -> None:
    def fail() -> Exception:
        return ApplicationError("busy", {1}, object(), type="Upstream", next_retry_delay=SOON)

    async with tracked_worker(client, queue, [Fails(fail)]) as worker:
        window = worker.jobs.debounce(Fails, queue)
        await window.add(1)
        await client.get_workflow_handle(window.instance_id).result()
        events = await eventually(
            lambda: [
                event
                for event in in_order(worker.sink.events, window.instance_id)
                if event["type"] == "job.failed"
            ]
        )
    [failed] = events
    assert failed["error"]["message"] == "Upstream: busy"
    assert failed["willRetry"] is True


async def test_a_retry_after_is_one_line_of_the_log(
    client: Client, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Exception:
        return RetryAfter(SOON, "rate limit\nreached")

    caplog.set_level(logging.INFO)
    async with tracked_worker(client, queue, [Fails(fail)]) as worker:
        window = worker.jobs.debounce(Fails, queue)
        await window.add(1)
        await client.get_workflow_handle(window.instance_id).result()
    formatter = logging.Formatter("%(message)s")
    told = [formatter.format(each) for each in caplog.records if "rate limit" in each.getMessage()]
    assert told == [
        f"{window.instance_id}: attempt 1 of execute asks for another one; it follows in "
        "0:00:00.050000: RetryAfter: rate limit reached"
    ]
    assert not [record for record in caplog.records if record.exc_info]


class Shop(TaskJob[str, int]):
    name = "shop"
    retry = Retry(max_attempts=1)

    def initial_state(self, key: str) -> int:
        return 0

    async def on_event(self, run: TaskRun[int], event: str) -> None:
        prices: dict[str, Any] = {}
        run.state = prices[event]

    async def execute(self, run: TaskRun[int]) -> None:
        """No alarm is set."""


async def test_status_failed_events_and_ask_show_type_and_text(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Shop()) as jobs:
        shop = jobs.task(Shop, new_key())
        with pytest.raises(JobFailed, match=r"^task:shop:.*: KeyError: 'sku'$"):
            await shop.ask("sku")
        status = await status_of(shop)
        await shop.terminate()
    assert status.last_error == "KeyError: 'sku'"
    assert [event["error"] for event in status.failed_events] == ["KeyError: 'sku'"]
