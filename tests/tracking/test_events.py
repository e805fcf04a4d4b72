"""The models that a collector parses our events with."""

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from durable_jobs import tracking
from durable_jobs.tracking import JobEvent, JobFailed, JobStarted, parse_event
from tests.tracking.helpers import event

AT = "2026-01-01T00:00:00.123Z"
FLUSHED = {"eventCount": 0, "reason": "maxEvents", "durationMs": 5, "flushReason": "maxBytes"}
KINDS: list[tuple[type[Any], dict[str, Any]]] = [
    (tracking.JobStarted, {"type": "job.started", "input": {"a": [1, None]}}),
    (
        tracking.JobExecuted,
        {
            "type": "job.executed",
            "runCount": 1,
            "durationMs": 0,
            "attempt": 2,
            "handler": "execute",
            "preExecutionState": [1],
        },
    ),
    (
        tracking.JobFailed,
        {
            "type": "job.failed",
            "error": {"message": "no", "stack": "at line 1"},
            "runCount": 1,
            "attempt": 1,
            "willRetry": True,
        },
    ),
    (
        tracking.JobRetryExhausted,
        {"type": "job.retryExhausted", "attempts": 3, "reason": "max_attempts"},
    ),
    (
        tracking.JobTerminated,
        {"type": "job.terminated", "reason": "cleared", "runCount": 0, "discardedEvents": 2},
    ),
    (tracking.DebounceStarted, {"type": "debounce.started", "flushAt": AT}),
    (tracking.DebounceFlushed, {"type": "debounce.flushed", **FLUSHED}),
    (tracking.TaskScheduled, {"type": "task.scheduled", "scheduledAt": AT, "trigger": "event"}),
    (tracking.JobPaused, {"type": "job.paused", "by": "exhausted"}),
    (tracking.JobResumed, {"type": "job.resumed", "by": "user", "note": "ann: all is well"}),
]


@pytest.mark.parametrize(("model", "fields"), KINDS)
def test_an_event_parses_to_its_model_and_back_to_the_same_json(
    model: type[Any], fields: dict[str, Any]
) -> None:
    wire = event(1, **fields)
    parsed = parse_event(wire)
    assert type(parsed) is model
    assert parsed.to_wire() == wire
    assert parse_event(json.dumps(wire)) == parse_event(json.dumps(wire).encode()) == parsed


def test_the_union_works_in_a_type_adapter() -> None:
    wires = [event(n, **fields) for n, (_, fields) in enumerate(KINDS, start=1)]
    parsed = TypeAdapter(list[JobEvent]).validate_python(wires)
    assert [type(item) for item in parsed] == [model for model, _ in KINDS]


def test_fields_of_a_later_version_are_ignored() -> None:
    assert "later" not in parse_event(event(1, later=True)).to_wire()


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "job.unknown"},
        {"type": "job.paused"},
        {"type": "job.resumed", "by": "nobody"},
        {"sequence": 0},
        {"timestamp": "2026-01-01T00:00:00"},
        {"jobType": "other"},
        {"source": "other"},
    ],
)
def test_what_is_no_tracking_event_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_event(event(1, **wrong))


def test_models_are_frozen_and_made_with_python_names() -> None:
    parsed = parse_event(event(1, **KINDS[2][1]))
    assert isinstance(parsed, JobFailed)
    assert parsed.will_retry
    assert parsed.error.stack == "at line 1"
    copy = JobFailed(**{name: getattr(parsed, name) for name in JobFailed.model_fields})
    assert copy == parsed
    with pytest.raises(ValidationError):
        parsed.attempt = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_the_exports_are_sorted_and_importing_them_does_not_import_httpx() -> None:
    assert tracking.__all__ == sorted(tracking.__all__)
    assert JobStarted.__name__ in tracking.__all__
    code = "import sys, durable_jobs.tracking as t; print('httpx' in sys.modules, t.HttpSink)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert out.stdout.startswith("False ")
