"""Which instances a caller means: told by their IDs, and by what they do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_jobs.errors import InvalidArgument
from durable_jobs.kinds import KINDS
from durable_jobs.many.selection import Selection
from tests.many.jobs import Poll

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def status(word: str = "scheduled", **more: Any) -> dict[str, Any]:
    return {"status": word, "lastError": None, "nextRunAt": None, "willFlushAt": None, **more}


def test_a_job_and_a_key_prefix_are_asked_of_visibility_as_the_prefix_of_an_id() -> None:
    chosen = Selection.of(Poll, {"key_prefix": "acct-"})
    assert "WorkflowType IN ('ContinuousJob')" in chosen.query()
    assert "ExecutionStatus IN ('Running')" in chosen.query()
    assert "WorkflowId STARTS_WITH 'continuous:poll:acct-'" in chosen.query()


def test_a_job_of_unknown_type_is_looked_for_under_each_type() -> None:
    query = Selection.checked(None, "poll").query()
    assert all(f"STARTS_WITH '{kind}:poll:'" in query for kind in KINDS)


def test_an_ended_word_looks_where_temporal_keeps_such_ends() -> None:
    assert "('Failed', 'TimedOut')" in Selection.checked(None, None, status="failed").query()
    assert "'Completed'" in Selection.checked(None, None, status="terminated").query()


def test_only_instances_are_meant_not_other_workflows_with_such_names() -> None:
    chosen = Selection.checked(None, None, key_prefix="a")
    assert chosen.has("continuous:poll:a1", "ContinuousJob")
    assert not chosen.has("continuous:poll:b1", "ContinuousJob")
    assert not chosen.has("continuous:poll:a1", "SomebodyElses")
    assert not chosen.has("a1", "ContinuousJob")


def test_the_attribute_tells_who_fails_and_the_instance_tells_the_rest() -> None:
    assert Selection().fits(None) is True
    assert Selection(failing=True).fits(("paused", "failing")) is True
    assert Selection(failing=True).fits(("ok",)) is False
    assert Selection(failing=True).fits(None) is None
    assert Selection(failing=True, status="idle").fits(("failing",)) is None
    assert Selection(overdue=True).fits(("ok",)) is None


@pytest.mark.parametrize(
    ("found", "failing"),
    [
        (status(), False),
        (status("retrying", lastError="no"), True),
        (status(lastError="no"), True),
        (status("paused", pausedBy="user"), False),
        (status("paused", pausedBy="exhausted"), True),
        (status("idle", failedEvents=[{"id": "1"}]), True),
        (status("terminated", lastError="no"), False),
    ],
)
def test_an_instance_fails_whose_last_attempt_failed_or_that_has_events_set_aside(
    found: dict[str, Any], failing: bool
) -> None:
    assert Selection(failing=True).takes(found, NOW) is failing


@pytest.mark.parametrize(
    ("found", "overdue"),
    [
        (status(nextRunAt="2025-12-31T23:59:00+00:00"), True),
        (status(nextRunAt="2025-12-31T23:59:55+00:00"), False),
        (status("running", nextRunAt="2025-12-31T23:59:00+00:00"), False),
        (status("debouncing", willFlushAt="2025-12-31T23:59:00+00:00"), True),
        (status(nextRunAt="2026-01-01T00:01:00+00:00"), False),
        (status("idle"), False),
    ],
)
def test_an_instance_is_overdue_whose_time_passed_without_a_run_under_way(
    found: dict[str, Any], overdue: bool
) -> None:
    assert Selection(overdue=True).takes(found, NOW) is overdue


def test_a_verb_is_for_the_types_that_take_it() -> None:
    assert Selection().taking("flush").types == ("debounce",)
    assert set(Selection().taking("redrive").types) == {"task", "workerPool"}
    with pytest.raises(InvalidArgument, match="continuous jobs take no flush; debounce jobs do"):
        Selection.of(Poll, {}).taking("flush")


@pytest.mark.parametrize(
    ("job", "which", "message"),
    [
        (None, {"status": "broken"}, "status is one of scheduled, .*; it is 'broken'"),
        (None, {"job_type": "cron"}, "job_type is one of continuous"),
        (None, {"key_prefix": 7}, "key_prefix is a text"),
        (Poll, {"job_type": "task"}, "poll is a continuous job"),
        ("poll", {}, "job is a job class or None"),
        (None, {"paused": True}, "there is no option paused"),
    ],
)
def test_a_word_that_is_none_is_refused(job: Any, which: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Selection.of(job, which)


def test_a_name_that_no_job_can_have_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="is no job's name"):
        Selection.checked(None, "My Job")


def test_quotes_in_a_key_end_no_text_of_the_query() -> None:
    chosen = Selection.checked("task", "triage", key_prefix="o'neil\\")
    assert "STARTS_WITH 'task:triage:o\\'neil\\\\'" in chosen.query()


def test_overdue_has_ten_seconds_of_grace() -> None:
    at = (NOW - timedelta(seconds=10)).isoformat()
    assert not Selection(overdue=True).takes(status(nextRunAt=at), NOW)
