"""`add`, `send`, `ask`, `enqueue` and `start`: events and states from the shell."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT_PATIENCE, AsJson, Patience, event_id, example
from .reach import run

_PANEL = "Feed instances"

InstanceId = Annotated[str, typer.Argument(metavar="INSTANCE", help="Its ID.")]
EventJson = Annotated[
    str | None, typer.Argument(metavar="[EVENT]", help="One event as JSON; else see --file.")
]
EventFile = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help="Events as JSON, one a line. Standard input without it."
    ),
]
EventId = Annotated[
    str | None,
    typer.Option(
        "--id",
        callback=event_id,
        help="The event's id, so that a repetition is dropped; of those in a file ID:1, ID:2, ….",
    ),
]
JobsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--jobs",
        envvar="DURABLE_JOBS_JOBS",
        metavar="MODULE:ATTRIBUTE",
        help="Where the job is: checks with its types.",
    ),
]


@dataclass(frozen=True)
class Feed:
    """What a command brings to whom."""

    command: str
    kind: str
    """The job type that takes it."""

    target: str
    text: str | None
    file: Path | None
    id: str | None = None
    jobs: tuple[str, ...] = ()
    as_json: bool = False
    timeout: timedelta = timedelta(seconds=DEFAULT_PATIENCE)
    partition_key: str | None = None
    priority: int = 0
    concurrency: int | None = None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    event = """'{"repo": "octocat/hello"}'"""
    for command, lines in (
        (add, [f"add debounce:digest:alice {event}", "add debounce:digest:alice --file e.jsonl"]),
        (send, [f"send task:triage:octocat/hello#7 {event} --jobs myapp.jobs:jobs"]),
        (ask, [f"ask task:triage:octocat/hello#7 {event} --timeout 30"]),
        (enqueue, [f"enqueue workerPool:deliver {event} --jobs myapp.jobs:jobs"]),
        (start, ["start continuous:poll:acct-1", "start continuous:poll:acct-1 '{\"page\": 1}'"]),
    ):
        app.command(rich_help_panel=_PANEL, epilog=example(*lines))(command)


def add(
    instance: InstanceId,
    event: EventJson = None,
    file: EventFile = None,
    id: EventId = None,  # noqa: A002
    jobs: JobsOption = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Add events to a debounce instance, which opens where it is not alive."""
    limit = timedelta(seconds=timeout)
    _feed(Feed("add", "debounce", instance, event, file, id, _all(jobs), as_json, limit))


def send(
    instance: InstanceId,
    event: EventJson = None,
    file: EventFile = None,
    id: EventId = None,  # noqa: A002
    jobs: JobsOption = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Send events to a task instance, which opens where it is not alive."""
    limit = timedelta(seconds=timeout)
    _feed(Feed("send", "task", instance, event, file, id, _all(jobs), as_json, limit))


def ask(
    instance: InstanceId,
    event: EventJson = None,
    file: EventFile = None,
    id: EventId = None,  # noqa: A002
    jobs: JobsOption = None,
    timeout: Patience = 30.0,
) -> None:
    """Send an event to a task instance, wait for its reply and print it as JSON."""
    limit = timedelta(seconds=timeout)
    _feed(Feed("ask", "task", instance, event, file, id, _all(jobs), timeout=limit))


def enqueue(
    pool: Annotated[
        str, typer.Argument(metavar="POOL", help="The job, such as workerPool:deliver.")
    ],
    event: EventJson = None,
    file: EventFile = None,
    partition_key: Annotated[
        str | None, typer.Option(help="Events of one key are handled in order.")
    ] = None,
    priority: Annotated[int, typer.Option(help="The highest goes first.")] = 0,
    id: EventId = None,  # noqa: A002
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="The job's own; needed where --jobs is not given.")
    ] = None,
    jobs: JobsOption = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Queue events for a worker pool."""
    _feed(
        Feed(
            "enqueue",
            "workerPool",
            pool,
            event,
            file,
            id,
            _all(jobs),
            as_json,
            timedelta(seconds=timeout),
            partition_key,
            priority,
            concurrency,
        )
    )


def start(
    instance: InstanceId,
    state: Annotated[
        str | None, typer.Argument(metavar="[STATE]", help="The first state, as JSON.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="It is in this file; -: stdin.")
    ] = None,
    jobs: JobsOption = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Start a continuous instance. One that is alive is left as it is."""
    from .feeding import start as begin

    limit = timedelta(seconds=timeout)
    feed = Feed("start", "continuous", instance, state, file, None, _all(jobs), as_json, limit)
    run(begin(feed))


def _feed(feed: Feed) -> None:
    from .feeding import send_all

    run(send_all(feed))


def _all(jobs: list[str] | None) -> tuple[str, ...]:
    return tuple(jobs or ())
