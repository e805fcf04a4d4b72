"""Options that several commands have."""

import json
from typing import Annotated, Any

import typer

DEFAULT_PATIENCE = 10.0

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


def text(value: str | None) -> str | None:
    """A note or a reason, where it is one that the server takes."""
    from ..arguments import check_text
    from ..errors import InvalidArgument

    try:
        check_text(value, "it")
    except InvalidArgument as error:
        raise typer.BadParameter(str(error)) from None
    return value


def event_id(value: str | None) -> str | None:
    """The id of an event, where it is one."""
    from ..arguments import check_event_id
    from ..errors import InvalidEvent

    try:
        check_event_id(value, "an event")
    except InvalidEvent as error:
        raise typer.BadParameter(str(error)) from None
    return value


def example(*words: str) -> str:
    """How help ends: with an example, a line for each."""
    lines = [f"durable-jobs {line}" for line in words]
    return "\n\n".join([f"Example: {lines[0]}", *lines[1:]])


def print_json(value: Any) -> None:
    """Print a value for machines."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
