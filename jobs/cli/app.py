"""The commands and their options."""

import os
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from . import feed, look, operate
from .logs import LogFormat, LogLevel, read_levels, start_logging
from .options import example

_COLLECTOR_PORT = 4000
_LAST_PORT = 65535

app: typer.Typer = typer.Typer(
    name="durable-jobs",
    help="Debounced, recurring and per-entity jobs on Temporal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


Jobs = Annotated[
    list[str],
    typer.Option(
        "--jobs",
        envvar="DURABLE_JOBS_JOBS",
        metavar="MODULE:ATTRIBUTE",
        help="Where the jobs are. May be given repeatedly.",
    ),
]
Queue = Annotated[
    str | None,
    typer.Option(help="The task queue, else DURABLE_JOBS_TASK_QUEUE, else durable-jobs."),
]
Grace = Annotated[
    float,
    typer.Option(
        min=0, max=86_400, help="Seconds that running attempts get when the worker stops."
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        envvar="DURABLE_JOBS_METRICS",
        metavar="HOST:PORT",
        help="Where Prometheus finds the worker's metrics, such as 127.0.0.1:9464.",
    ),
]
Health = Annotated[
    str | None,
    typer.Option(
        envvar="DURABLE_JOBS_HEALTH",
        metavar="HOST:PORT",
        help="Where the worker answers /livez and /readyz, such as 127.0.0.1:8080.",
    ),
]


def checked_levels(words: list[str] | None) -> list[str]:
    """The words, where they are levels."""
    try:
        read_levels(words or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return words or []


Level = Annotated[LogLevel, typer.Option(help="From which level on lines are written.")]
LevelWords = Annotated[
    list[str] | None,
    typer.Option(
        "--log-level",
        envvar="DURABLE_JOBS_LOG_LEVEL",
        metavar="LEVEL|JOB=LEVEL",
        callback=checked_levels,
        help="debug, info (the default), warning or error; poll=debug for run.logger of one job.",
    ),
]
Format = Annotated[
    LogFormat,
    typer.Option("--log-format", envvar="DURABLE_JOBS_LOG_FORMAT", help="How lines look."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"durable-jobs {version('durable-jobs')}")
        raise typer.Exit


@app.callback()
def _common(  # pyright: ignore[reportUnusedFunction]
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Debounced, recurring and per-entity jobs on Temporal."""


@app.command(epilog=example("worker --jobs myapp.jobs:jobs --health 127.0.0.1:8080"))
def worker(
    jobs: Jobs,
    task_queue: Queue = None,
    metrics: Metrics = None,
    health: Health = None,
    grace: Grace = 10.0,
    log_level: LevelWords = None,
    log_format: Format = LogFormat.text,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C.

    TEMPORAL_* and Temporal's profile file say where Temporal is.
    DURABLE_JOBS_* say where tracking events go.
    """
    from .worker import Plan, work

    levels = read_levels(log_level or [])
    start_logging(levels.level, form=log_format)
    limit = timedelta(seconds=grace)
    work(Plan(tuple(jobs), task_queue, metrics or None, health or None, limit, levels))


@app.command(epilog=example("dev --jobs myapp.jobs:jobs --reload"))
def dev(
    jobs: Jobs,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_LAST_PORT,
            help="Start Temporal on this port, even if another one runs already.",
        ),
    ] = None,
    ui_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=_LAST_PORT, help="The port of Temporal's UI, else that of Temporal + 1000."
        ),
    ] = None,
    data: Annotated[Path, typer.Option(help="The file that Temporal keeps its data in.")] = Path(
        ".durable-jobs/dev.db"
    ),
    collector_port: Annotated[
        int, typer.Option(min=0, max=_LAST_PORT, help="The port of the collector; 0: any.")
    ] = _COLLECTOR_PORT,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start the worker anew when a .py file changes here.")
    ] = False,
    task_queue: Queue = None,
    metrics: Metrics = None,
    grace: Grace = 5.0,
    log_level: LevelWords = None,
    log_format: Format = LogFormat.text,
) -> None:
    """Run jobs with a Temporal of their own, and print what they do.

    Starts Temporal with its UI (or uses the one that runs already), a worker and a collector that
    prints each tracking event. Ctrl-C stops them all; the data stays.
    """
    from .dev import Plan, develop

    start_logging(LogLevel.warning)
    worker_options = ["--grace", str(grace), "--log-format", log_format]
    worker_options += [part for word in log_level or [] for part in ("--log-level", word)]
    worker_options += ["--task-queue", task_queue] if task_queue else []
    worker_options += ["--metrics", metrics] if metrics else []
    develop(
        Plan(
            tuple(jobs),
            port,
            ui_port,
            data,
            collector_port,
            tuple(worker_options),
            grace,
            reload=reload,
        )
    )


@app.command(epilog=example("reconcile --every 10m"))
def reconcile(
    since: Annotated[
        str, typer.Option(help="How far back to look: 90m, 24h, 7d. Temporal's retention ends it.")
    ] = "24h",
    every: Annotated[
        str | None,
        typer.Option(help="Have a Temporal schedule look so often from now on: 10m, 1h."),
    ] = None,
    task_queue: Queue = None,
    log_level: Level = LogLevel.warning,
) -> None:
    """Deliver what instances that were ended from outside could not say.

    Temporal's own terminate and run time-outs run no code of an instance. This finds such
    instances and delivers their last tracking events and a job.terminated. To do it twice does no
    harm: the events have the same eventId each time. A worker of the task queue must be running.

    With --every the workers do it themselves: a Temporal schedule is made, or changed.
    """
    from .reconcile import reconcile
    from .spans import parse_duration

    start_logging(log_level)
    try:
        back = parse_duration("--since", since)
        pause = parse_duration("--every", every) if every else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    reconcile(back, pause, task_queue)


def _even_empty(option: typer.CallbackParam, value: str | None) -> str | None:
    """What was given: Click takes an empty variable for none, and here it is one to refuse."""
    return os.environ.get(str(option.envvar)) if value is None else value


def _listed(values: list[str] | None) -> tuple[str, ...]:
    """Names, as repeated options or in one variable, with spaces or commas between them."""
    return tuple(part for value in values or () for part in value.replace(",", " ").split())


@app.command(epilog=example("collector --db events.db --retention 30d"))
def collector(
    db: Annotated[
        Path, typer.Option(envvar="DURABLE_JOBS_COLLECTOR_DB", help="The file that keeps events.")
    ],
    host: Annotated[
        str, typer.Option(envvar="DURABLE_JOBS_COLLECTOR_HOST", help="Where to listen.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="DURABLE_JOBS_COLLECTOR_PORT", help="Where to listen; 0: any.")
    ] = _COLLECTOR_PORT,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="DURABLE_JOBS_COLLECTOR_TOKEN",
            callback=_even_empty,
            help="The bearer token that senders must give.",
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="DURABLE_JOBS_COLLECTOR_SECRET",
            callback=_even_empty,
            help="The whsec_… that requests must be signed with.",
        ),
    ] = None,
    erase_token: Annotated[
        str | None,
        typer.Option(
            envvar="DURABLE_JOBS_COLLECTOR_ERASE_TOKEN",
            callback=_even_empty,
            help="The bearer token for erasing instances; without it nobody can.",
        ),
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(
            envvar="DURABLE_JOBS_COLLECTOR_RETENTION",
            help="Delete what came longer ago: 30d, 12h, 90m. All is kept without it.",
        ),
    ] = None,
    temporal_ui: Annotated[
        str | None,
        typer.Option(
            envvar="DURABLE_JOBS_COLLECTOR_TEMPORAL_UI",
            help="The address of Temporal's UI, for links to it.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            envvar="DURABLE_JOBS_COLLECTOR_NAMES",
            help="A host name by which browsers and workers reach it. May be given repeatedly.",
        ),
    ] = None,
    log_level: Level = LogLevel.info,
) -> None:
    """Take tracking events and show them on a page.

    Token and signature protect sending. Whoever reaches the port can read the page.
    """
    from .collector import Plan, collect

    start_logging(log_level)
    names = _listed(name)
    collect(Plan(db, host, port, token, secret, retention, temporal_ui, names, erase_token))


operate.register(app)
feed.register(app)
look.register(app)
