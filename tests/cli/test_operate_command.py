"""The operator's commands, as processes, on instances whose classes they do not know."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from durable_jobs import ContinuousRun, DebounceJob, DebounceRun, Every, JobClient
from durable_jobs.cli.app import app
from durable_jobs.cli.operate import schedule_of
from durable_jobs.cli.remote import Trouble, instance_of
from durable_jobs.cli.spans import moment_text, parse_duration, parse_span, span_text
from durable_jobs.embedded import EmbeddedServer
from tests.support import eventually
from tests.support.jobs import (
    new_key,
    result_of,
    running_worker,
    status_of,
    until_settled,
    until_status,
)
from tests.support.operating import Operator
from tests.support.skipping import HOUR, Noting
from tests.task.jobs import Sieve


class Hourly(Noting):
    schedule = Every(HOUR)
    start_immediately = False

    async def execute(self, run: ContinuousRun[int]) -> None:
        run.progress(3, 12, "pages")
        await super().execute(run)
        if run.is_retry:
            return
        raise ValueError("the API said: \x1b[31mno\x1b[0m [bold]")


class Words(DebounceJob[str, list[str]]):
    name = "words"
    flush_after = HOUR

    def reduce(self, state: list[str] | None, event: str) -> list[str]:
        return [*(state or []), event]

    async def execute(self, run: DebounceRun[list[str]]) -> None: ...


@pytest.fixture
def operate(server: EmbeddedServer) -> Operator:
    return Operator(server.target)


async def test_an_operator_pauses_reschedules_triggers_and_ends_an_instance(
    client: Client, queue: str, operate: Operator
) -> None:
    job = Hourly()
    async with running_worker(client, queue, job) as jobs:
        hourly = jobs.continuous(Hourly, new_key())
        await hourly.start()
        await until_status(hourly, "scheduled")
        shown = await operate("status", hourly.instance_id)
        assert "status    scheduled" in shown
        assert "schedule  every 1 h\n" in shown
        shown = await operate("pause", "continuous", "noting", hourly.key, "--note", "ada: [b]no")
        assert "ada: [b]no" in shown
        await until_status(hourly, "paused")
        answer = json.loads(await operate("resume", hourly.instance_id, "--note", "ok", "--json"))
        assert (answer["sent"], answer["status"]["resumeNote"]) == ("resume", "ok")
        line = ("--cron", "0 9 * * mon-fri", "--timezone", "Europe/Berlin")
        await operate("reschedule", hourly.instance_id, *line)
        shown = await operate("status", hourly.instance_id)
        assert "cron '0 9 * * mon-fri' in Europe/Berlin (set by reschedule)" in shown
        await operate("reschedule", hourly.instance_id, "--every", "1h30m", "--jitter", "10s")
        schedule = (await status_of(hourly)).schedule
        assert schedule == {"every": 5400.0, "jitter": 10.0}
        await operate("reschedule", hourly.instance_id, "--reset")
        assert (await status_of(hourly)).schedule == {"every": 3600.0}
        shown = await operate("trigger", hourly.instance_id)
        # What users wrote moves no cursor and paints nothing.
        assert "\x1b" not in shown
        await eventually(lambda: len(job.runs) == 2)
        await until_status(hourly, "scheduled")
        assert json.loads(await operate("state", hourly.instance_id)) == 1
        await operate("terminate", hourly.instance_id, "--reason", "not needed")
        ended = await result_of(client, hourly.instance_id)
        assert (ended["status"], ended["reason"]) == ("terminated", "not needed")
        assert "is not alive: it ended" in await operate("trigger", hourly.instance_id, code=3)
        shown = await operate("status", hourly.instance_id)
        assert "terminated" in shown
        assert "reason" in shown
        assert "not needed" in shown


async def test_an_operator_flushes_and_clears_a_debounce(
    client: Client, queue: str, operate: Operator
) -> None:
    async with running_worker(client, queue, Words()) as jobs:
        words = jobs.debounce(Words, new_key())
        await words.add_many(["a", "b", "c"])
        assert json.loads(await operate("state", words.instance_id)) == ["a", "b", "c"]
        assert "3 events dropped" in await operate("clear", words.instance_id)
        await words.add("d")
        await operate("flush", words.instance_id)
        await until_status(words, "completed")
        assert await words.state() == ["d"]


async def test_an_operator_redrives_the_failed_events_of_a_task(
    client: Client, queue: str, operate: Operator
) -> None:
    job = Sieve()
    async with running_worker(client, queue, job) as jobs:
        sieve = jobs.task(Sieve, new_key())
        for number in range(3):
            await sieve.send(f"bad {number}", id=f"event-{number}")
        await until_settled(sieve)
        shown = await operate("status", sieve.instance_id)
        assert "event-1" in shown
        assert "no bad 1" in shown
        job.open = True
        nothing = await operate("redrive", sieve.instance_id, "--event", "nope", code=3)
        assert "no failed event with the id 'nope' is set aside" in nothing
        one = await operate("redrive", sieve.instance_id, "--event", "event-1")
        assert "1 event queued again" in one
        answer = json.loads(await operate("redrive", sieve.instance_id, "--json"))
        assert answer == {"redrivenEvents": 2}
        await until_settled(sieve)
        assert await sieve.state() == ["bad 1", "bad 0", "bad 2"]
        await sieve.terminate()


async def test_a_status_shows_progress_and_the_last_error(
    client: Client, queue: str, operate: Operator
) -> None:
    held = asyncio.Event()

    class Held(Hourly):
        async def execute(self, run: ContinuousRun[int]) -> None:
            if not run.is_retry:
                await super().execute(run)
            run.progress(3, 12, "pages")
            await held.wait()

    async with running_worker(client, queue, Held()) as jobs:
        handle = jobs.continuous(Held, new_key())
        await handle.start()
        await handle.trigger()

        async def told() -> str | None:
            shown = await operate("status", handle.instance_id)
            return shown if "3 of 12 (25 %), pages" in shown else None

        shown = await eventually(told, within=20, every=0.2)
        assert "the API said: ?[31mno?[0m [bold]" in shown
        held.set()
        await handle.terminate()


async def test_an_operator_is_told_that_an_instance_a_worker_or_a_server_is_missing(
    client: Client, queue: str, operate: Operator
) -> None:
    hourly = JobClient(client, task_queue=queue).continuous(Hourly, new_key())
    assert "there is no instance" in await operate("status", hourly.instance_id, code=3)
    await hourly.start()
    silent = ("--timeout", "1")
    shown = await operate("status", hourly.instance_id, *silent, code=4)
    assert f"no worker answered within 1 s; does one run for the task queue '{queue}'?" in shown
    shown = await operate("pause", hourly.instance_id, *silent)
    assert "pause was sent and takes effect once a worker runs" in shown
    shown = await Operator("127.0.0.1:1")("status", hourly.instance_id, *silent, code=1)
    assert "Temporal does not answer at 127.0.0.1:1" in shown
    await client.get_workflow_handle(hourly.instance_id).terminate()


async def test_an_answer_that_only_a_worker_can_give_is_missed_in_time_with_one_line(
    client: Client, queue: str, operate: Operator
) -> None:
    jobs = JobClient(client, task_queue=queue)
    words, sieve = jobs.debounce(Words, new_key()), jobs.task(Sieve, new_key())
    await words.add("a")
    await sieve.send("a")
    silent = ("--timeout", "1")
    for verb, handle in (("state", words), ("clear", words), ("redrive", sieve)):
        shown = await operate(verb, handle.instance_id, *silent, code=4)
        assert shown.count("\n") == 1
        assert f"no worker answered within 1 s; does one run for the task queue '{queue}'?" in shown
    for handle in (words, sieve):
        await client.get_workflow_handle(handle.instance_id).terminate()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["poll:acct"], "is no instance ID like continuous:poll:acct-1"),
        (["continuous:Poll!:a"], "is no instance ID"),
        (["continuous:poll:"], "is no instance ID"),
        (["continuous:poll:" + "k" * 300], "at most 240 characters"),
        (["continuous", "poll"], "not by 2 words"),
        (["continuous:poll:\udcff"], "is no Unicode text"),
        (["\udcff:poll:a"], "begins with one of"),
    ],
)
def test_what_names_no_instance_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(Trouble, match=message) as refused:
        instance_of(words)
    assert refused.value.code == 2
    str(refused.value).encode()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status", "continuous:poll:a", "--timeout", "inf"], "--timeout"),
        (["status", "continuous:poll:a", "--timeout", "nan"], "--timeout"),
        (["pause", "continuous:poll:a", "--note", "x" * 1_001], "at most 1,000"),
        (["resume", "continuous:poll:a", "--note", "\udcff"], "surrogate"),
        (["terminate", "continuous:poll:a", "--reason", "x" * 1_001], "at most 1,000"),
        (["redrive", "task:poll:a", "--event", ""], "is empty"),
        (["redrive", "task:poll:a", "--event", "x" * 301], "at most 300"),
        (["worker", "--jobs", "a:b", "--grace", "inf"], "--grace"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_sent(words: list[str], message: str) -> None:
    result = CliRunner().invoke(
        app, words, env={"TEMPORAL_ADDRESS": "127.0.0.1:1", "COLUMNS": "200"}
    )
    assert result.exit_code == 2
    assert message in result.output


def test_an_instance_is_named_by_its_id_or_its_parts() -> None:
    assert instance_of(["task:triage:a:b"]) == "task:triage:a:b"
    assert instance_of(["task", "triage", "a:b"]) == "task:triage:a:b"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one of --every, --cron and --reset"),
        ({"every": "5m", "cron": "@daily"}, "give one of"),
        ({"every": "soon"}, "write it as 5m"),
        ({"every": "0s"}, "interval"),
        ({"every": "5m", "timezone": "UTC"}, "--timezone goes with --cron"),
        ({"every": "5m", "jitter": "6m"}, "jitter lies between"),
        ({"cron": "0 25 * * *"}, "bad cron line"),
        ({"cron": "@daily", "timezone": "Mars"}, "unknown time zone"),
        ({"reset": True, "jitter": "5s"}, "--jitter does not go with --reset"),
    ],
)
def test_a_wrong_schedule_is_refused(options: dict[str, Any], message: str) -> None:
    given = {"every": None, "cron": None, "timezone": None, "jitter": None, "reset": False}
    with pytest.raises(ValueError, match=message):
        schedule_of(**{**given, **options})


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(hours=1.5)),
        ("1.5 h", timedelta(hours=1.5)),
        ("500ms", timedelta(seconds=0.5)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_a_span_is_read(text: str, span: timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "5m!", "-5m", "one hour", "1e9d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no span of time"):
        parse_span(text)


@pytest.mark.parametrize("text", ["", "30", "0d", "-1d", "30 days", "1y", "9999999w", "101y"])
def test_what_is_no_duration_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(ValueError, match=r"--keep '.*' must be a time of more than 0"):
        parse_duration("--keep", text)


def test_a_duration_is_a_span_of_more_than_nothing() -> None:
    assert parse_duration("--keep", "1h30m") == timedelta(minutes=90)


def test_spans_and_moments_are_shown_in_two_units() -> None:
    shown: dict[Any, str] = {0.25: "250 ms", 5: "5 s", 90: "1 min 30 s", 86_400 * 2 + 30: "2 d"}
    assert {seconds: span_text(timedelta(seconds=seconds)) for seconds in shown} == shown
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert moment_text(now + HOUR, now) == "2026-01-01 01:00:00 UTC (in 1 h)"
    assert moment_text(now - HOUR, now) == "2025-12-31 23:00:00 UTC (1 h ago)"
