"""The commands of an operator: look at one instance, and tell it what to do."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .leave import complain, leave
from .lines import events_text

if TYPE_CHECKING:
    from ..schedule import Schedule
    from .remote import Remote

Instance = Annotated[
    list[str],
    typer.Argument(
        metavar="INSTANCE",
        help="Its ID, such as continuous:poll:acct-1, or its job type, name and key.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Patience = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.1, max=86_400, help="Seconds to wait for the server and a worker."
    ),
]
DEFAULT_PATIENCE = 10.0


def _text(value: str | None) -> str | None:
    """A note or a reason, where it is one that the server takes."""
    from ..arguments import check_text
    from ..errors import InvalidArgument

    try:
        check_text(value, "it")
    except InvalidArgument as error:
        raise typer.BadParameter(str(error)) from None
    return value


def _event_id(value: str | None) -> str | None:
    """The id of an event, where it is one."""
    from ..arguments import check_event_id
    from ..errors import InvalidEvent

    try:
        check_event_id(value, "an event")
    except InvalidEvent as error:
        raise typer.BadParameter(str(error)) from None
    return value


Note = Annotated[str | None, typer.Option(callback=_text, help="Who and why; the status shows it.")]

Action = Callable[["Remote"], Awaitable[None]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    verbs = (pause, resume, trigger, reschedule, flush, drain, clear, redrive, terminate)
    for command in (status, state, *verbs):
        app.command(rich_help_panel="Operate one instance")(command)


def status(
    instance: Instance, as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE
) -> None:
    """Show what an instance does, or did at its end."""

    async def act(remote: "Remote") -> None:
        from .show import show_status

        answer = await remote.status()
        if as_json:
            _print_json(answer)
        else:
            show_status(answer)

    _run(instance, timeout, act)


def state(instance: Instance, timeout: Patience = DEFAULT_PATIENCE) -> None:
    """Print an instance's state as JSON, the last one where it ended."""

    async def act(remote: "Remote") -> None:
        _print_json(await remote.state())

    _run(instance, timeout, act)


def pause(
    instance: Instance,
    note: Note = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Start nothing new until it is resumed. A run under way goes on."""
    _tell(instance, timeout, as_json, "pause", *_given(note))


def resume(
    instance: Instance,
    note: Note = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Go on after a pause. Ticks that were missed meanwhile are not made up for."""
    _tell(instance, timeout, as_json, "resume", *_given(note))


def trigger(
    instance: Instance, as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE
) -> None:
    """Run a continuous or task job once now, also when paused; a pool: its next event."""
    _tell(instance, timeout, as_json, "trigger")


def flush(
    instance: Instance, as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE
) -> None:
    """Flush what waits in a debounce job now, also when paused."""
    _tell(instance, timeout, as_json, "flush")


def drain(
    instance: Instance, as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE
) -> None:
    """Have an instance of a pool work off what waits, and end."""
    _tell(instance, timeout, as_json, "drain")


def clear(
    instance: Instance, as_json: AsJson = False, timeout: Patience = DEFAULT_PATIENCE
) -> None:
    """Drop what waits in a debounce job or a pool, and say how much that was."""

    async def act(remote: "Remote") -> None:
        answer = await remote.update("clear")
        if as_json:
            _print_json(answer)
        else:
            typer.echo(f"{remote.id}: {events_text(answer['discardedEvents'])} dropped")

    _run(instance, timeout, act)


def redrive(
    instance: Instance,
    event: Annotated[
        str | None,
        typer.Option(
            metavar="ID", callback=_event_id, help="This one alone, by its id in the status."
        ),
    ] = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """Queue again the failed events that a task or pool has set aside, and say how many."""

    async def act(remote: "Remote") -> None:
        from .remote import NOT_FOUND, Trouble

        answer = await remote.update("redrive", *_given(event))
        if event is not None and not answer["redrivenEvents"]:
            raise Trouble(
                f"{remote.id}: no failed event with the id {event!r} is set aside;"
                " status names those that are",
                NOT_FOUND,
            )
        if as_json:
            _print_json(answer)
        else:
            typer.echo(f"{remote.id}: {events_text(answer['redrivenEvents'])} queued again")

    _run(instance, timeout, act)


def terminate(
    instance: Instance,
    reason: Annotated[
        str | None, typer.Option(callback=_text, help="Why; kept with its end.")
    ] = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """End an instance. What waits is dropped and counted."""
    _tell(instance, timeout, as_json, "terminate", *_given(reason))


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
    _tell(instance, timeout, as_json, "reschedule", rule)


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


def _tell(
    instance: list[str], timeout: float, as_json: bool, verb: str, *arguments: Any
) -> NoReturn:
    async def act(remote: "Remote") -> None:
        from .remote import NO_ANSWER, Trouble, Unreadable
        from .show import show_status

        await remote.tell(verb, *arguments)
        try:
            answer = await remote.status()
        except Unreadable as trouble:
            complain(f"{verb} was sent; {trouble}")
            answer = None
        except Trouble as trouble:
            if trouble.code != NO_ANSWER:
                raise
            complain(f"{verb} was sent and takes effect once a worker runs; {trouble}")
            answer = None
        if as_json:
            sent = {"instanceId": remote.id, "sent": verb, "status": answer}
            _print_json(sent)
        elif answer is not None:
            typer.echo(f"{verb} was sent")
            show_status(answer)

    _run(instance, timeout, act)


def _run(instance: list[str], timeout: float, act: Action) -> NoReturn:
    leave(asyncio.run(_code(instance, timedelta(seconds=timeout), act)))


async def _code(instance: list[str], timeout: timedelta, act: Action) -> int:
    from ..errors import InvalidSettings, TemporalUnreachable
    from .remote import FAILED, WRONG_INPUT, Remote, Trouble, instance_of

    try:
        await act(await Remote.reach(instance_of(instance), timeout))
    except Trouble as trouble:
        complain(trouble)
        return trouble.code
    except InvalidSettings as error:
        complain(error)
        return WRONG_INPUT
    except TemporalUnreachable as error:
        complain(error)
        return FAILED
    return 0


def _given(text: str | None) -> list[str]:
    return [] if text is None else [text]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
