"""What `Tracking` does with `before_send`."""

import copy
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_jobs.tracking import HttpSink, MemorySink, NoopSink, Tracking
from durable_jobs.tracking.wire import encode
from tests.tracking.helpers import event

Change = Callable[[dict[str, Any]], dict[str, Any]]
SECRET = {
    "type": "job.failed",
    "runCount": 1,
    "attempt": 1,
    "willRetry": False,
    "error": {"message": "secret", "stack": "secret"},
    "input": "secret",
    "preExecutionState": {"deep": ["secret"]},
}


def failing(item: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError(f"cannot redact {item['error']}")


def leaving(item: dict[str, Any]) -> dict[str, Any]:
    sys.exit(f"cannot redact {item['error']}")


async def coroutine(item: dict[str, Any]) -> dict[str, Any]:
    return item


def test_tracking_is_off_with_a_noop_sink_alone() -> None:
    assert not Tracking(NoopSink()).enabled
    assert Tracking(MemorySink()).enabled
    assert Tracking(HttpSink("http://localhost/")).enabled


def test_types_are_all_or_core() -> None:
    assert Tracking(MemorySink(), types="core").identity.types == "core"
    assert Tracking(MemorySink()).identity.types == "all"
    with pytest.raises(ValueError, match="'all' or 'core', not 'some'"):
        Tracking(MemorySink(), types="some")  # pyright: ignore[reportArgumentType]


def test_before_send_changes_what_is_sent_and_not_the_callers_event() -> None:
    def clean(item: dict[str, Any]) -> dict[str, Any]:
        item["preExecutionState"]["deep"][0] = "***"
        del item["input"]
        return item

    given = event(1, **SECRET)
    before = copy.deepcopy(given)
    sent = Tracking(MemorySink(), before_send=clean).redact(given)
    assert given == before
    assert sent["preExecutionState"] == {"deep": ["***"]}
    assert "input" not in sent


def test_before_send_cannot_change_what_identifies_an_event() -> None:
    given = event(7)
    other = {"eventId": "x", "sequence": 1, "executionId": "x", "type": "x", "env": "new"}
    tracking = Tracking(MemorySink(), before_send=lambda item: {**item, **other})
    names = ("eventId", "sequence", "executionId", "type")
    sent = tracking.redact(given)
    assert {name: sent[name] for name in names} == {name: given[name] for name in names}
    assert sent["env"] == "new"


def without(*names: str) -> Change:
    return lambda item: {name: item[name] for name in item if name not in names}


def having(**fields: Any) -> Change:
    return lambda item: {**item, **fields}


@pytest.mark.parametrize(
    "broken",
    [
        failing,
        leaving,
        coroutine,
        lambda _: None,
        lambda _: [],
        lambda _: {},
        having(at=datetime.now(UTC)),
        having(timestamp="hidden"),
        having(timestamp="1700000000"),
        having(jobType="hidden"),
        having(error="hidden"),
        having(error=None),
        having(error={"stack": "hidden"}),
        having(error={"message": "hidden", "stack": ["hidden"]}),
        having(willRetry="false"),
        without("error"),
        without("instanceId"),
        without("runCount"),
    ],
)
def test_where_before_send_fails_the_texts_are_withheld_and_counted(broken: Any) -> None:
    tracking = Tracking(MemorySink(), before_send=broken)
    given = event(1, **SECRET, reason="secret")
    sent = tracking.redact(given)
    assert b"secret" not in encode(sent)
    assert sent["error"] == {"message": "withheld: before_send failed"}
    assert {"input", "preExecutionState", "reason"}.isdisjoint(sent)
    assert sent["eventId"] == given["eventId"]
    assert tracking.withheld == 1


def test_a_reason_that_is_one_of_fixed_words_is_not_withheld() -> None:
    tracking = Tracking(MemorySink(), before_send=failing)
    flushed = event(1, type="debounce.flushed", reason="timeout")
    assert tracking.redact(flushed)["reason"] == "timeout"
    ended = event(1, type="job.terminated", reason="secret")
    assert "reason" not in tracking.redact(ended)


def test_a_failing_before_send_is_logged_once_without_the_texts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracking = Tracking(MemorySink(), before_send=failing)
    with caplog.at_level(logging.DEBUG):
        for number in range(3):
            tracking.redact(event(number, **SECRET))
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
    assert tracking.withheld == 3


def test_the_log_says_what_is_missing_of_what_before_send_gave_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Tracking(MemorySink(), before_send=without("error")).redact(event(1, **SECRET))
    assert "no event: error: Field required" in caplog.text
    assert "secret" not in caplog.text


def test_an_event_type_of_a_later_version_needs_no_field() -> None:
    given = event(1, type="job.moved", how={"far": 1})
    assert Tracking(MemorySink(), before_send=without("how")).redact(given) == without("how")(given)


def test_without_before_send_the_event_stays_the_same_object() -> None:
    given = event(1)
    assert Tracking(MemorySink()).redact(given) is given


@pytest.mark.parametrize("span", [timedelta(), -timedelta(seconds=1), timedelta.max, 5, None])
def test_the_spans_of_tracking_are_more_than_nothing_and_at_most_ten_years(span: Any) -> None:
    with pytest.raises(ValueError, match="give_up_after"):
        Tracking(MemorySink(), give_up_after=span)
    with pytest.raises(ValueError, match="timeout"):
        HttpSink("http://127.0.0.1:1/events", timeout=span)


def test_an_error_text_that_utf8_cannot_hold_is_still_sent() -> None:
    assert encode({"error": "file \udc80"}) == b'{"error":"file ?"}'
    for bad in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(ValueError, match=r"."):
            encode(bad)  # pyright: ignore[reportArgumentType]
