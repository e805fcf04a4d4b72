"""A wrong definition is refused when it is registered, with words that say what to change."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    Cron,
    DebounceJob,
    DebounceRun,
    Every,
    JobsPlugin,
    Retry,
    TaskJob,
    TaskRun,
    collect,
)
from durable_jobs.definitions import Job
from durable_jobs.protocol import Options
from durable_jobs.wire import dumps
from tests.definitions.jobs import SECOND, Latest, Poll, Sums, Triage, but, refusal
from tests.support.scripted import Push, Total


def test_good_definitions_are_taken() -> None:
    JobsPlugin([Latest(), Sums(), Poll(), Triage()])


# -- names


@pytest.mark.parametrize(
    "name",
    ["", "Poll", "my job", "-poll", ".poll", "a:b", "a/b", "p" * 101, "poll\n", "ü", 5, None],
)
def test_a_name_of_another_form_is_refused(name: object) -> None:
    message = refusal(but(Poll, name=name)())
    assert "Poll: name" in message
    assert repr(name) in message


@pytest.mark.parametrize("name", ["p", "0", "repo-digest", "a.b_c-d", "p" * 100])
def test_a_name_of_the_right_form_is_taken(name: str) -> None:
    JobsPlugin([but(Poll, name=name)()])


def test_a_job_without_a_name_is_refused() -> None:
    class Nameless(DebounceJob[Push]):
        flush_after = SECOND

        async def execute(self, run: DebounceRun[Push]) -> None:
            """Nothing."""

    assert "Nameless: name" in refusal(Nameless())


def test_two_jobs_of_one_name_are_refused_whatever_their_types() -> None:
    assert "'poll'" in refusal(Poll(), Poll())
    assert "'poll'" in refusal(Poll(), but(Triage, name="poll")())


@pytest.mark.parametrize("job", [Poll, object(), "poll", None, 5])
def test_what_is_no_instance_of_a_job_is_refused(job: object) -> None:
    assert "instance" in refusal(job)


# -- handlers


def test_a_job_without_execute_is_refused() -> None:
    class NoRun(DebounceJob[Push]):
        name = "no-run"
        flush_after = SECOND

    class NoTick(ContinuousJob[Total]):
        name = "no-tick"
        schedule = Every(SECOND)

    class NoAlarm(TaskJob[Push, Total]):
        name = "no-alarm"

        async def on_event(self, run: TaskRun[Total], event: Push) -> None:
            """Nothing."""

    for job in (NoRun(), NoTick(), NoAlarm()):
        assert f"{type(job).__name__}: write execute" in refusal(job)


def test_a_task_without_on_event_is_refused() -> None:
    class NoEvent(TaskJob[Push, Total]):
        name = "no-event"

        async def execute(self, run: TaskRun[Total]) -> None:
            """Nothing."""

    assert "write on_event" in refusal(NoEvent())


def test_a_reduce_is_needed_where_event_and_state_differ() -> None:
    class NoReduce(DebounceJob[Push, Total]):
        name = "no-reduce"
        flush_after = SECOND

        async def execute(self, run: DebounceRun[Total]) -> None:
            """Nothing."""

    assert "write reduce" in refusal(NoReduce())
    JobsPlugin([but(NoReduce, reduce=Sums.reduce)()])


@pytest.mark.parametrize("handler", [5, None, "execute"])
def test_a_handler_that_cannot_be_called_is_refused(handler: object) -> None:
    assert "execute" in refusal(but(Poll, execute=handler)())


def test_handlers_may_come_from_a_base_class_or_a_mixin() -> None:
    class Runs:
        async def execute(self, run: DebounceRun[Push]) -> None:
            """Nothing."""

    class Mixed(Runs, DebounceJob[Push]):
        name = "mixed"
        flush_after = SECOND

    class Base(DebounceJob[Push]):
        flush_after = SECOND

        def execute(self, run: DebounceRun[Push]) -> None:
            """Nothing."""

    class Child(Base):
        name = "child"

    JobsPlugin([Mixed(), Child()])


# -- flush rules


def test_a_debounce_without_a_flush_rule_is_refused() -> None:
    message = refusal(but(Latest, flush_after=None)())
    for rule in ("flush_after", "quiet_for", "max_events", "max_bytes"):
        assert rule in message
        value = SECOND if rule in ("flush_after", "quiet_for") else 5
        JobsPlugin([but(Latest, **{"flush_after": None, rule: value})()])


@pytest.mark.parametrize(
    "rule",
    [
        {"flush_after": timedelta()},
        {"flush_after": -SECOND},
        {"flush_after": 5},
        {"quiet_for": timedelta()},
        {"quiet_for": "1s"},
        {"max_events": 0},
        {"max_events": -1},
        {"max_events": 2.5},
        {"max_events": True},
        {"max_events": "5"},
        {"max_bytes": 0},
        {"max_bytes": SECOND},
    ],
    ids=str,
)
def test_a_flush_rule_that_makes_no_sense_is_refused(rule: dict[str, object]) -> None:
    [name] = rule
    message = refusal(but(Latest, **rule)())
    assert message.startswith("Latest: ")
    assert name in message


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"quiet_for": SECOND}, "quiet_for is no shorter than flush_after"),
        ({"quiet_for": 2 * SECOND}, "quiet_for is no shorter than flush_after"),
        ({"dedupe_for": SECOND}, "dedupe_for is no longer than flush_after"),
        (
            {"flush_after": None, "quiet_for": 2 * SECOND, "dedupe_for": SECOND},
            "dedupe_for is no longer than quiet_for",
        ),
        (
            {"flush_after": None, "max_events": 5, "leading": True},
            "leading needs flush_after or quiet_for",
        ),
        ({"max_events": 1, "leading": True}, "leading is of no use with max_events = 1"),
        ({"leading": "yes"}, "leading is True or False"),
        ({"flush_after": timedelta.max}, "at most 10 years"),
    ],
    ids=str,
)
def test_flush_rules_that_make_no_sense_together_are_refused(
    rules: dict[str, object], reason: str
) -> None:
    assert reason in refusal(but(Latest, **rules)())


def test_flush_rules_that_make_sense_together_are_taken() -> None:
    half = SECOND / 2
    for rules in (
        {"quiet_for": half, "max_events": 1, "max_bytes": 1},
        {"quiet_for": half, "leading": True, "dedupe_for": 2 * SECOND},
        {"flush_after": None, "quiet_for": half, "leading": True, "max_bytes": 5},
        {"flush_after": None, "max_events": 5, "dedupe_for": half},
    ):
        JobsPlugin([but(Latest, **rules)()])


def test_a_list_of_collect_flushes_before_it_grows_too_large() -> None:
    class Listing(DebounceJob[Push, list[Push]]):
        name = "listing"
        flush_after = SECOND
        reduce = collect

        async def execute(self, run: DebounceRun[list[Push]]) -> None:
            """Nothing."""

    JobsPlugin([Listing(), but(Listing, name="other", max_bytes=256 * 1024)()])
    assert "at which a list of `collect`" in refusal(but(Listing, max_bytes=300_000)())
    JobsPlugin([but(Listing, max_bytes=300_000, reduce=lambda self, state, event: [event])()])


# -- schedules


@pytest.mark.parametrize(
    "schedule",
    [
        None,
        SECOND,
        "* * * * *",
        Every(timedelta()),
        Every(-SECOND),
        Every(5),  # type: ignore[arg-type]
        Every(SECOND, jitter=-SECOND),
        Every(SECOND, jitter=2 * SECOND),
        Every(SECOND, jitter=1),  # type: ignore[arg-type]
        Cron(""),
        Cron("* * *"),
        Cron("61 * * * *"),
        Cron("0 0 30 2 *"),
        Cron("@fortnightly"),
        Cron(5),  # type: ignore[arg-type]
        Cron("* * * * *", timezone="Mars/Olympus"),
        Cron("* * * * *", timezone=""),
        Cron("* * * * *", timezone="../../etc/passwd"),
        Cron("* * * * *", jitter=-SECOND),
        Cron("* * * * *", jitter=61 * SECOND),
        Cron("*/5 * * * * *", jitter=6 * SECOND),
        Cron("@hourly", jitter=timedelta(hours=1, seconds=1)),
        Cron("0 9,10 * * mon-fri", jitter=timedelta(hours=2)),
        Cron("59 23,0 * * *", jitter=timedelta(hours=1, seconds=1)),
        Cron("0 0 1,31 * *", jitter=timedelta(days=2)),
        Cron("0 0 13 * fri", jitter=timedelta(days=2)),
        Cron("0 0 L * *", jitter=timedelta(days=29)),
    ],
    ids=repr,
)
def test_a_schedule_that_makes_no_sense_is_refused(schedule: object) -> None:
    assert refusal(but(Poll, schedule=schedule)()).startswith("Poll: ")


def test_a_bad_cron_line_is_named() -> None:
    assert "'61 * * * *'" in refusal(but(Poll, schedule=Cron("61 * * * *"))())
    zone = Cron("@daily", timezone="Mars/Olympus")
    assert "'Mars/Olympus'" in refusal(but(Poll, schedule=zone)())


def test_a_jitter_longer_than_the_time_between_two_ticks_names_both() -> None:
    often = Cron("*/5 * * * *", jitter=timedelta(minutes=6))
    message = refusal(but(Poll, schedule=often)())
    assert message.startswith("Poll: jitter is at most 0:05:00, ")
    assert message.endswith("'*/5 * * * *'; it is 0:06:00")


@pytest.mark.parametrize(
    "schedule",
    [
        Every(timedelta(milliseconds=1)),
        Every(timedelta(days=400), jitter=timedelta(days=400)),
        Cron("0 9 * * mon-fri", timezone="Europe/Berlin"),
        Cron("@daily", jitter=SECOND),
        Cron("* * * * *", jitter=60 * SECOND),
        Cron("* * * * * *", jitter=SECOND),
        Cron("0 9,10 * * mon-fri", jitter=timedelta(hours=1)),
        Cron("0 9 * * mon", jitter=timedelta(days=7)),
        Cron("0 0 1 1 *", jitter=timedelta(days=365)),
        Cron("0 0 29 2 *", jitter=timedelta(days=1461)),
        Cron("*/5 * * * * *"),
    ],
    ids=repr,
)
def test_a_good_schedule_is_taken(schedule: object) -> None:
    JobsPlugin([but(Poll, schedule=schedule)()])


def test_a_continuous_job_without_a_schedule_is_refused() -> None:
    class Never(ContinuousJob[Total]):
        name = "never"

        async def execute(self, run: ContinuousRun[Total]) -> None:
            """Nothing."""

    assert "schedule" in refusal(Never())


@pytest.mark.parametrize("keys", ["default", ("",), (5,), ("k" * 240,), 5])
def test_keys_to_start_at_boot_must_be_keys(keys: object) -> None:
    assert "key" in refusal(but(Poll, keys=keys)())


# -- options


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": timedelta()},
        {"timeout": 5},
        {"heartbeat_timeout": -SECOND},
        {"on_exhausted": "stop"},
        {"on_exhausted": None},
        {"state_version": "1"},
        {"state_version": -1},
        {"state_version": 1.5},
        {"include_state_in_events": "yes"},
        {"retry": 3},
        {"retry": Retry(max_attempts=0)},
        {"retry": Retry(max_attempts=2.5)},  # type: ignore[arg-type]
        {"retry": Retry(initial=timedelta())},
        {"retry": Retry(initial=1)},  # type: ignore[arg-type]
        {"retry": Retry(initial=SECOND, maximum=SECOND / 2)},
        {"retry": Retry(factor=0.5)},
        {"retry": Retry(backoff="random")},  # type: ignore[arg-type]
        {"retry": Retry(max_duration=timedelta())},
        {"retry": Retry(max_duration=60)},  # type: ignore[arg-type]
        {"retry": Retry(max_attempts=True)},
        {"retry": Retry(max_attempts=2**31)},
        {"retry": Retry(max_attempts=10**400)},
        {"state_version": 10**400},
        {"retry": Retry(max_attempts="3")},  # type: ignore[arg-type]
        {"retry": Retry(factor="2")},  # type: ignore[arg-type]
        {"retry": Retry(factor=float("nan"))},
        {"retry": Retry(factor=float("inf"))},
        {"retry": Retry(factor=10**400)},
        {"retry": Retry(jitter="yes")},  # type: ignore[arg-type]
        {"retry": Retry(non_retryable=ValueError)},  # type: ignore[arg-type]
        {"retry": Retry(non_retryable=("ValueError",))},  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    [name] = options
    for job in (Latest, Poll, Triage):
        message = refusal(but(job, **options)())
        assert message.startswith(f"{job.__name__}: ")
        assert name in message


TEN_YEARS = timedelta(days=3653)
TOO_LONG = [timedelta.max, TEN_YEARS + timedelta.resolution]
SPANS: dict[str, tuple[type[Job], Callable[[timedelta], dict[str, object]]]] = {
    "timeout": (Latest, lambda span: {"timeout": span}),
    "heartbeat_timeout": (Poll, lambda span: {"heartbeat_timeout": span}),
    "idle_timeout": (Triage, lambda span: {"idle_timeout": span}),
    "retry.initial": (Poll, lambda span: {"retry": Retry(initial=span, maximum=span)}),
    "retry.maximum": (Latest, lambda span: {"retry": Retry(maximum=span)}),
    "retry.max_duration": (Triage, lambda span: {"retry": Retry(max_duration=span)}),
    "flush_after": (Latest, lambda span: {"flush_after": span}),
    "quiet_for": (Latest, lambda span: {"flush_after": None, "quiet_for": span}),
    "dedupe_for": (Latest, lambda span: {"dedupe_for": span}),
    "interval": (Poll, lambda span: {"schedule": Every(span)}),
    "jitter": (Poll, lambda span: {"schedule": Cron("@yearly", jitter=span)}),
}


@pytest.mark.parametrize("span", TOO_LONG, ids=repr)
@pytest.mark.parametrize("name", SPANS)
def test_a_span_of_more_than_ten_years_is_refused(name: str, span: timedelta) -> None:
    job, options = SPANS[name]
    message = refusal(but(job, **options(span))())
    assert message.startswith(f"{job.__name__}: ")
    assert name in message
    assert "10 years" in message


@pytest.mark.parametrize("name", [name for name in SPANS if name != "jitter"])
def test_a_span_of_ten_years_is_taken_and_goes_into_history(name: str) -> None:
    job, options = SPANS[name]
    made = but(job, **options(TEN_YEARS))()
    JobsPlugin([made])
    recorded = made.options(None)
    assert Options.model_validate_json(dumps(recorded)) == recorded
