"""What an operator tells instances: one by its ID, several, or all that are chosen."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

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
from .leave import complain
from .lines import events_text
from .options import DEFAULT_PATIENCE, AsJson, Patience, event_id, print_json, text
from .reach import NO_ANSWER, NOT_FOUND, WRONG_INPUT, Trouble, run

if TYPE_CHECKING:
    from .remote import Remote

_PANEL = "For several instances"
_RATE = 100.0
_BEGIN_A_RUN = ("trigger", "flush", "resume")
_QUICK_RUN = 3.0  # seconds
_LOOK_EVERY = 0.1  # seconds

Instances = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INSTANCE",
        help="IDs such as continuous:poll:acct-1, or one as job type, name and key.",
    ),
]
Note = Annotated[str | None, typer.Option(callback=text, help="Who and why; the status shows it.")]
Reason = Annotated[str | None, typer.Option(callback=text, help="Why; kept with its end.")]
Event = Annotated[
    str | None,
    typer.Option(metavar="ID", callback=event_id, help="This one alone, by its id in the status."),
]
Sure = Annotated[bool, typer.Option("--yes", rich_help_panel=_PANEL, help="Do not ask.")]
Rate = Annotated[
    float,
    typer.Option(min=0.1, max=10_000, rich_help_panel=_PANEL, help="Instances a second."),
]
Operation = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=_PANEL,
        help="Names it: an instance heeds a verb once for each name.",
    ),
]


@dataclass(frozen=True)
class Verb:
    """A command that tells instances something."""

    name: str
    help: str
    example: str
    takes: str | None = None
    """The option of its own."""


VERBS = (
    Verb(
        "pause",
        "Start nothing new until it is resumed. A run under way goes on. "
        "With --job alone the whole job is paused, with instances to come.",
        'pause --job poll --note "ada: the API is down"',
        "note",
    ),
    Verb(
        "resume",
        "Go on after a pause. Ticks that were missed meanwhile are not made up for.",
        "resume --job poll",
        "note",
    ),
    Verb(
        "trigger",
        "Run a continuous or task job once now, also when paused; a pool: its next event.",
        "trigger --job poll --failing",
    ),
    Verb(
        "flush",
        "Flush what waits in a debounce job now, also when paused.",
        "flush debounce:digest:alice",
    ),
    Verb(
        "clear",
        "Drop what waits in a debounce job or a pool, and say how much that was.",
        "clear debounce:digest:alice debounce:digest:bob",
    ),
    Verb(
        "redrive",
        "Queue again the failed events that a task or pool has set aside, and say how many.",
        "redrive --job triage --failing --yes",
        "event",
    ),
    Verb(
        "terminate",
        "End an instance. What waits is dropped and counted.",
        'terminate --job poll --key-prefix old- --reason "accounts closed"',
        "reason",
    ),
)


@dataclass(frozen=True)
class Given:
    """What a command was given."""

    instance: list[str] | None
    job_type: str | None
    job: str | None
    key_prefix: str | None
    status: str | None
    failing: bool
    overdue: bool
    yes: bool
    rate: float
    operation: str | None
    as_json: bool
    timeout: float
    note: str | None = None
    reason: str | None = None
    event: str | None = None

    @property
    def arguments(self) -> list[str]:
        """What goes with the verb."""
        return [each for each in (self.note, self.reason, self.event) if each is not None]

    @property
    def choice(self) -> Choice:
        """The options that choose instances."""
        return Choice(**{each.name: getattr(self, each.name) for each in fields(Choice)})


def _options(
    instance: Instances = None,
    note: Note = None,
    reason: Reason = None,
    event: Event = None,
    job_type: TypeOption = None,
    job: JobOption = None,
    key_prefix: PrefixOption = None,
    status: StatusOption = None,
    failing: FailingOption = False,
    overdue: OverdueOption = False,
    yes: Sure = False,
    rate: Rate = _RATE,
    operation: Operation = None,
    as_json: AsJson = False,
    timeout: Patience = DEFAULT_PATIENCE,
) -> None:
    """All options that verbs have; those of one verb alone go with it."""


_OWN = {"note", "reason", "event"}


def command_of(verb: Verb) -> Callable[..., None]:
    """The function from which Typer makes the command."""

    def command(**given: Any) -> None:
        run(_do(verb.name, Given(**given)))

    left_out = _OWN - {verb.takes}
    signature = inspect.signature(_options)
    kept = [each for each in signature.parameters.values() if each.name not in left_out]
    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in kept}
    return command


async def _do(verb: str, given: Given) -> int:
    from .many import Bulk, tell_many
    from .remote import Remote, instance_of

    words, choice, timeout = given.instance or [], given.choice, timedelta(seconds=given.timeout)
    if words and choice != Choice():
        raise Trouble("give IDs, or options that choose instances; not both", WRONG_INPUT)
    if is_one(words):
        instance = instance_of(words)
        return await _tell_one(await Remote.reach(instance, timeout), verb, given)
    if given.event is not None:
        raise Trouble("--event goes with one instance", WRONG_INPUT)
    bulk = Bulk(
        verb,
        given.arguments,
        words,
        choice,
        given.rate,
        timeout,
        given.yes,
        given.operation,
        given.as_json,
    )
    return await tell_many(bulk)


def is_one(words: list[str]) -> bool:
    """Whether words name one instance: by its ID, or by job type, name and key."""
    return len(words) == 1 or (bool(words) and ":" not in words[0])


async def _tell_one(remote: "Remote", verb: str, given: Given) -> int:
    if verb == "clear":
        await _clear(remote, given)
    elif verb == "redrive":
        await _redrive(remote, given)
    else:
        await tell(remote, verb, *given.arguments, as_json=given.as_json)
    return 0


async def _clear(remote: "Remote", given: Given) -> None:
    answer = await remote.update("clear")
    if given.as_json:
        print_json(answer)
    else:
        typer.echo(f"{remote.id}: {events_text(answer['discardedEvents'])} dropped")


async def _redrive(remote: "Remote", given: Given) -> None:
    answer = await remote.update("redrive", *given.arguments)
    if given.event is not None and not answer["redrivenEvents"]:
        raise Trouble(
            f"{remote.id}: no failed event with the id {given.event!r} is set aside;"
            " status names those that are",
            NOT_FOUND,
        )
    if given.as_json:
        print_json(answer)
    else:
        typer.echo(f"{remote.id}: {events_text(answer['redrivenEvents'])} queued again")


async def _status_after(remote: "Remote", verb: str) -> dict[str, Any]:
    """What it does then: where a run begins at once, what came of it, if that is quick."""
    until = monotonic() + _QUICK_RUN
    answer = await remote.status()
    while verb in _BEGIN_A_RUN and answer["status"] == "running" and monotonic() < until:
        await asyncio.sleep(_LOOK_EVERY)
        answer = await remote.status()
    return answer


async def tell(remote: "Remote", verb: str, *arguments: Any, as_json: bool) -> None:
    """Tell one instance something, and show what it does then."""
    from .remote import Unreadable
    from .show import show_status

    await remote.tell(verb, *arguments)
    try:
        answer = await _status_after(remote, verb)
    except Unreadable as trouble:
        complain(f"{verb} was sent; {trouble}")
        answer = None
    except Trouble as trouble:
        if trouble.code != NO_ANSWER:
            raise
        complain(f"{verb} was sent and takes effect once a worker runs; {trouble}")
        answer = None
    if as_json:
        print_json({"instanceId": remote.id, "sent": verb, "status": answer})
    elif answer is not None:
        typer.echo(f"{verb} was sent")
        show_status(answer)
