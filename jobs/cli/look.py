"""The commands that look around: what a set-up needs, and what a module defines."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .colours import ORANGE, TEAL
from .leave import complain
from .options import DEFAULT_PATIENCE, AsJson, Patience, example, print_json
from .reach import FAILED, Trouble, run

if TYPE_CHECKING:
    from .doctor import Finding

_PANEL = "Look around"
_LONGEST = 1_000  # characters of what was found
_COLOURS = {"ok": "green", "warn": ORANGE, "fail": "red", "off": "dim"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=_PANEL, epilog=example("init demo"))(init)
    app.command(rich_help_panel=_PANEL, epilog=example("jobs myapp.jobs:jobs"))(jobs)
    app.command(rich_help_panel=_PANEL, epilog=example("doctor"))(doctor)
    app.command(
        rich_help_panel=_PANEL, epilog=example("events --follow", "events --type job.failed")
    )(events)


_HERE = Path()


def init(
    folder: Annotated[
        Path, typer.Argument(help="Where to make it; the current folder without it.")
    ] = _HERE,
) -> None:
    """Make a first project: a job, its tests, and a compose file.

    No file that is there already is changed.
    """
    from .init import make_project

    try:
        make_project(folder)
    except Trouble as trouble:
        complain(trouble)
        raise typer.Exit(trouble.code) from None


def jobs(
    references: Annotated[
        list[str], typer.Argument(metavar="MODULE:ATTRIBUTE", help="Where the jobs are.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show what a module defines, checked as a worker checks it. Needs no server.

    The exit code is 2 where a worker could not run it.
    """
    from .defined import show_jobs

    run(show_jobs(tuple(references), as_json=as_json))


def events(
    instance: Annotated[
        str | None, typer.Argument(metavar="[INSTANCE]", help="Those of one instance, by its ID.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with those that come.")] = False,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Such as job.failed.")
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="NAME", help="The job's name.")] = None,
    limit: Annotated[int, typer.Option(min=0, max=500, help="So many of those kept.")] = 20,
    collector: Annotated[
        str, typer.Option(envvar="DURABLE_JOBS_COLLECTOR_URL", help="The collector's address.")
    ] = "http://127.0.0.1:4000",
    as_json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
) -> None:
    """Print tracking events that a collector has, the newest last."""
    from .watch import Wish, show_events

    wish = Wish(collector, instance, kind, job, limit, follow, as_json)
    try:
        show_events(wish)
    except Trouble as trouble:
        complain(trouble)
        raise typer.Exit(trouble.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def doctor(as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE) -> None:
    """Check what jobs need: Temporal, its namespace, workers, clocks, the collector.

    Looks through the settings of this shell: TEMPORAL_*, its profile file, DURABLE_JOBS_*.
    Each line that is not ok says what to do. The exit code is 1 where something fails.
    """
    run(_doctor(timedelta(seconds=timeout), as_json=as_json))


async def _doctor(timeout: timedelta, *, as_json: bool) -> int:
    from . import doctor as checks

    findings: list[Finding] = []
    async for finding in checks.examine(timeout):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json(checks.as_json(findings))
    return FAILED if any(finding.level == "fail" for finding in findings) else 0


def _print(finding: "Finding") -> None:
    from rich.text import Text

    from .lines import plain
    from .screen import console, print_hanging

    found = Text(plain(finding.found, _LONGEST))
    if finding.advice:
        found.append(f"\n{finding.advice}", TEAL)
    level = (f"{finding.level:6}", _COLOURS[finding.level])
    print_hanging(console(), Text.assemble(level, f"{finding.what:12}"), found)
