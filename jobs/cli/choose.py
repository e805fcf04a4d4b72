"""The options by which instances are chosen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..many.selection import Selection

_PANEL = "Choose instances"

TypeOption = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        rich_help_panel=_PANEL,
        help="continuous, debounce, task or workerPool.",
    ),
]
JobOption = Annotated[
    str | None,
    typer.Option("--job", metavar="NAME", rich_help_panel=_PANEL, help="The job's name."),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--key-prefix", metavar="TEXT", rich_help_panel=_PANEL, help="What the key begins with."
    ),
]
StatusOption = Annotated[
    str | None,
    typer.Option(
        "--status",
        metavar="WORD",
        rich_help_panel=_PANEL,
        help="Such as paused, retrying or idle; of ended ones failed, terminated or completed.",
    ),
]
FailingOption = Annotated[
    bool,
    typer.Option(
        "--failing",
        rich_help_panel=_PANEL,
        help="The last attempt failed, or failed events are set aside.",
    ),
]
OverdueOption = Annotated[
    bool,
    typer.Option(
        "--overdue", rich_help_panel=_PANEL, help="Due for over 10 s, and nothing is under way."
    ),
]


@dataclass(frozen=True)
class Choice:
    """What an operator chose instances by."""

    job_type: str | None = None
    job: str | None = None
    key_prefix: str | None = None
    status: str | None = None
    failing: bool = False
    overdue: bool = False

    def selection(self) -> "Selection":
        """The instances that are meant; raises `InvalidArgument`."""
        from ..many.selection import Selection

        return Selection.checked(
            self.job_type,
            self.job,
            status=self.status,
            key_prefix=self.key_prefix,
            failing=self.failing,
            overdue=self.overdue,
        )
