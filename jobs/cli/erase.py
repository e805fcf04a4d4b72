"""`durable-jobs erase`: what Temporal has of instances goes for good."""

import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .collector_eraser import TOKEN_VARIABLE, CollectorEraser
from .leave import complain
from .lines import events_text, plain
from .options import AsJson, print_json
from .reach import NOT_FOUND, WRONG_INPUT, Trouble, reach, run
from .verbs import is_one

if TYPE_CHECKING:
    from ..status import EraseReceipt

_PATIENCE = 30.0


def erase(
    instance: Annotated[
        list[str],
        typer.Argument(
            metavar="INSTANCE",
            help="IDs such as task:triage:alice, or one as job type, name and key.",
        ),
    ],
    collector: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=f"The collector's address: erase there too, with the token in {TOKEN_VARIABLE}.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, max=86_400, help="Seconds for its end, and for its tracking events."),
    ] = _PATIENCE,
) -> None:
    """End instances, and delete every run of them from Temporal for good.

    Waits for their tracking events, and until Temporal has deleted them: some 35 s each.

    What a collector keeps goes with --collector alone. Given again after an error, it does the
    rest.
    """
    run(_erase(instance, collector, timedelta(seconds=timeout), sure=yes, as_json=as_json))


async def _erase(
    words: list[str], collector: str | None, timeout: timedelta, *, sure: bool, as_json: bool
) -> int:
    from .remote import Remote, instance_of

    token = os.environ.get(TOKEN_VARIABLE)
    eraser = CollectorEraser.checked(collector, token) if collector is not None else None
    named = [instance_of(words)] if is_one(words) else [instance_of([word]) for word in words]
    ids = list(dict.fromkeys(named))
    _confirm(ids, sure)
    connection = await reach(timeout)
    codes: list[int] = []
    gone: list[str] = []
    shown: list[Any] = []
    for each in ids:
        try:
            receipt = await Remote(connection, each, timeout).erase()
        except Trouble as trouble:
            complain(trouble)
            codes.append(trouble.code)
            continue
        gone.append(each)
        codes.append(_tell(receipt, as_json=as_json))
        shown.append(receipt.model_dump(mode="json", by_alias=True))
    if as_json:
        print_json(shown)
    if eraser is not None and gone:
        typer.echo(f"the collector erased {events_text(eraser.erase(gone))}", err=as_json)
    # The gravest: refused, then no worker, then nothing there.
    return next((code for code in (1, 4, 3) if code in codes), 0)


def _confirm(ids: list[str], sure: bool) -> None:
    typer.echo(f"to erase for good: {', '.join(map(plain, ids))}", err=True)
    if sure:
        return
    if not sys.stdin.isatty():
        raise Trouble("nothing was erased: say --yes where nobody can be asked", WRONG_INPUT)
    if not typer.confirm("Go on?", err=True):
        raise Trouble("nothing was erased", WRONG_INPUT)


def _tell(receipt: "EraseReceipt", *, as_json: bool) -> int:
    """Say what was erased; gives the exit code."""
    name = plain(receipt.instance_id)
    if not receipt.deleted_runs and not receipt.deleted_deliveries:
        complain(f"Temporal has nothing of {name}")
        return NOT_FOUND
    if not as_json:
        ended = ", which was ended" if receipt.ended else ""
        typer.echo(
            f"{name}{ended}: {receipt.deleted_runs} Temporal runs deleted, "
            f"{receipt.deleted_deliveries} deliveries of tracking events"
        )
    if receipt.reopened:
        complain(f"an event opened a new life of {name} meanwhile, which was left alone")
    return 0
