"""The commands of an operator: find instances, look at one, and tell them what to do."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .choose import (
    Choice,
    FailingOption,
    JobOption,
    OverdueOption,
    PrefixOption,
    StatusOption,
    TypeOption,
)
from .erase import erase
from .leave import complain
from .options import DEFAULT_PATIENCE, AsJson, Instance, Patience, example, print_json
from .reach import run
from .verbs import VERBS, command_of, tell

if TYPE_CHECKING:
    from ..schedule import Schedule
    from .remote import Remote

_FIND, _OPERATE = "Find instances", "Tell instances what to do"

Action = Callable[["Remote"], Awaitable[None]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    acct = "continuous:poll:acct-1"
    app.command(
        "list", rich_help_panel=_FIND, epilog=example("list --failing", "list --job poll --watch")
    )(list_)
    app.command(rich_help_panel=_FIND, epilog=example("setup"))(setup)
    app.command(rich_help_panel=_FIND, epilog=example(f"status {acct}"))(status)
    app.command(rich_help_panel=_FIND, epilog=example(f"state {acct}"))(state)
    for verb in VERBS:
        app.command(
            verb.name, help=verb.help, rich_help_panel=_OPERATE, epilog=example(verb.example)
        )(command_of(verb))
    app.command(rich_help_panel=_OPERATE, epilog=example("drain workerPool:deliver:3"))(drain)
    app.command(
        rich_help_panel=_OPERATE, epilog=example(f"reschedule {acct} --every 5m --jitter 10s")
    )(reschedule)
    app.command(
        rich_help_panel=_OPERATE, epilog=example("erase task:triage:alice debounce:digest:alice")
    )(erase)


def list_(
    job_type: TypeOption = None,
    job: JobOption = None,
    key_prefix: PrefixOption = None,
    status: StatusOption = None,
    failing: FailingOption = False,
    overdue: OverdueOption = False,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="BY",
            help="id, started, status (the worst first) or next; without it by ID, "
            "of more than 1,000 the newest first.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Show so many at most; 0: all.")] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every 2 s.")] = False,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """List instances that are alive, with what they do, and count them.

    Temporal's visibility names them, a second late. Those shown are asked what they do.
    --status, --failing, --overdue and --sort by status or next have all asked: slower.
    """
    from .listing import Plan, show_list

    choice = Choice(job_type, job, key_prefix, status, failing, overdue)
    show_list(Plan(choice, sort, limit, timedelta(seconds=timeout), watch=watch, as_json=as_json))


def setup(timeout: Patience = DEFAULT_PATIENCE) -> None:
    """Let Temporal find instances that are paused or fail, by a search attribute.

    Creates JobStatus in the namespace, once. Without it lists ask each instance.
    """
    from .setup import set_up

    run(set_up(timedelta(seconds=timeout)))


def status(
    instance: Instance, as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE
) -> None:
    """Show what an instance does, or did at its end."""

    async def act(remote: "Remote") -> None:
        from .show import show_status

        answer, attempts = await remote.status(), await remote.attempts()
        if as_json:
            print_json({**answer, "attempts": [each.json() for each in attempts]})
        else:
            show_status(answer, await remote.link(), attempts)

    _run(instance, timeout, act)


def state(instance: Instance, timeout: Patience = DEFAULT_PATIENCE) -> None:
    """Print an instance's state as JSON, the last one where it ended."""

    async def act(remote: "Remote") -> None:
        print_json(await remote.state())

    _run(instance, timeout, act)


def drain(
    instance: Instance, as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE
) -> None:
    """Have an instance of a pool work off what waits, and end."""
    _run(instance, timeout, lambda remote: tell(remote, "drain", as_json=as_json))


def reschedule(
    instance: Instance,
    every: Annotated[
        str | None, typer.Option(metavar="SPAN", help="A fixed interval: 5m, 1h30m, 90s, 2d.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="LINE", help="A cron line, such as '0 9 * * mon-fri'.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Of --cron; UTC without it.")
    ] = None,
    jitter: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Delays each tick by a random time up to it.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to the job's own.")] = False,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Give one continuous instance a schedule of its own, until --reset."""
    try:
        schedule = schedule_of(every, cron, timezone, jitter, reset=reset)
    except ValueError as error:
        complain(error)
        raise typer.Exit(2) from None
    rule = schedule.rule().model_dump(exclude_defaults=True) if schedule is not None else None
    _run(instance, timeout, lambda remote: tell(remote, "reschedule", rule, as_json=as_json))


def schedule_of(
    every: str | None, cron: str | None, timezone: str | None, jitter: str | None, *, reset: bool
) -> "Schedule | None":
    """The schedule that options ask for, None for a reset; raises ValueError."""
    from ..errors import DefinitionError
    from ..schedule import Cron, Every
    from .spans import parse_span

    if (every is not None) + (cron is not None) + reset != 1:
        raise ValueError("give one of --every, --cron and --reset")
    if timezone is not None and cron is None:
        raise ValueError("--timezone goes with --cron")
    if reset:
        if jitter is not None:
            raise ValueError("--jitter does not go with --reset")
        return None
    delay = parse_span(jitter) if jitter is not None else timedelta()
    schedule = (
        Cron(cron, timezone or "UTC", delay)
        if cron is not None
        else Every(parse_span(every or ""), delay)
    )
    try:
        schedule.check("reschedule")
    except DefinitionError as error:
        raise ValueError(str(error)) from error
    return schedule


def _run(instance: list[str], timeout: float, act: Action) -> NoReturn:
    async def command() -> int:
        from .remote import Remote, instance_of

        await act(await Remote.reach(instance_of(instance), timedelta(seconds=timeout)))
        return 0

    run(command())
