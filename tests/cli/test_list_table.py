"""A list as a table: on wide and narrow terminals, and what it advises."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_jobs.cli.advice import how_to_retry
from durable_jobs.cli.listing import Listing
from durable_jobs.cli.table import summary_of, table_of
from durable_jobs.many.finding import Found, Seen

ERROR = "ConnectionError: GET https://api.example.com/orders: 503 Service Unavailable"


def seen(instance: str, word: str | None = "scheduled", **more: Any) -> Seen:
    found = Found(instance, datetime(2026, 1, 1, tzinfo=UTC), "q", is_alive=True)
    if word is None:
        return Seen(found, problem=f"{instance}: no worker answered")
    job_type, job, _ = instance.split(":", 2)
    known = {"jobType": job_type, "jobName": job, "status": word, "runCount": 3, "eventCount": 0}
    return Seen(found, {**known, "lastError": None, **more})


def lines(width: int, *shown: Seen) -> list[str]:
    return table_of(shown, width).plain.split("\n")


def test_an_error_stands_beside_the_rest_and_is_cut_where_the_terminal_ends() -> None:
    head, row = lines(100, seen("continuous:poll:a", lastError=ERROR))
    assert head.split() == ["INSTANCE", "STATUS", "RUNS", "LAST", "ERROR"]
    assert row.startswith("continuous:poll:a  scheduled     3  ConnectionError: GET https://api.")
    assert row.endswith("…")
    assert len(row) == 100


def test_an_error_stands_below_where_there_is_no_room_beside() -> None:
    rows = lines(60, seen("continuous:poll:a"), seen("continuous:poll:b", lastError=ERROR))
    assert rows[0].split() == ["INSTANCE", "STATUS", "RUNS"]
    assert rows[2].split() == ["continuous:poll:b", "scheduled", "3"]
    assert rows[3].startswith("  ConnectionError: GET https://api.example.com/orders")
    assert len(rows[3]) == 60


def test_a_long_id_stays_in_one_piece() -> None:
    long = "continuous:poll:" + 200 * "x"
    _, row, short = lines(80, seen(long), seen("continuous:poll:a"))
    assert row.startswith(f"{long}  scheduled")
    assert short.index("scheduled") == 62


def test_letters_that_take_two_columns_leave_the_columns_in_line() -> None:
    _, wide, narrow = lines(80, seen("continuous:poll:東京"), seen("continuous:poll:tokyo"))
    assert wide.index("scheduled") + 2 == narrow.index("scheduled")


@pytest.mark.parametrize(
    ("failing", "command"),
    [
        (seen("continuous:poll:a", lastError="no"), "trigger --job poll --failing"),
        (seen("continuous:poll:a", "paused", pausedBy="exhausted"), "resume --job poll --failing"),
        (seen("task:t:a", "idle", failedEvents=[{"id": "1"}]), "redrive --job t --failing"),
        (seen("task:t:a", "retrying", lastError="no"), "trigger --job t --status retrying"),
        (seen("debounce:d:a", "paused", pausedBy="exhausted"), "flush --job d --failing"),
    ],
)
def test_what_fails_is_listed_with_the_command_that_retries_it(failing: Seen, command: str) -> None:
    assert how_to_retry([failing, failing]) == [f"to retry: durable-jobs {command}"]


def test_a_list_without_answers_says_whom_to_ask() -> None:
    silent = [seen(f"continuous:poll:{key}", None) for key in "ab"]
    said = summary_of(Listing(total=2, shown=silent)).split("\n")
    assert said[1] == "2 gave no answer, the first continuous:poll:a: no worker answered"
    assert said[2].endswith("durable-jobs doctor")
    assert "fits" not in summary_of(Listing(undecided=silent))
