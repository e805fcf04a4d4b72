"""How far a long command is: a bar on a terminal, a line now and then elsewhere. On stderr."""

import sys
from time import monotonic
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.theme import Theme

from .colours import TEAL

_SAY_EVERY = 5.0  # seconds
_QUICK = 0.5  # seconds
"""What takes no longer shows nothing."""


class Progress:
    """Shows that something goes on, and how far it is."""

    def __init__(self, what: str, total: int) -> None:
        """`total` 0: nothing is shown."""
        self._what = what
        self._total = total
        self.done: int = 0
        self._began = self._said_at = monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        if self._bar is not None:
            self._bar.advance(self._task)
        elif sys.stderr.isatty():
            self._show_bar()
        elif self._total and monotonic() - self._said_at >= _SAY_EVERY:
            self._said_at = monotonic()
            typer.echo(f"{self._what}: {self.done:,} of {self._total:,}", err=True)

    def _show_bar(self) -> None:
        """Show it from now on, if this takes its time."""
        if monotonic() - self._began < _QUICK or self.done >= self._total:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        out = Console(stderr=True, theme=Theme({"progress.remaining": TEAL}))
        self._bar = Bar(*columns, TimeRemainingColumn(), console=out, transient=True)
        self._task = self._bar.add_task(self._what, total=self._total, completed=self.done)
        self._bar.start()

    def say(self, line: str) -> None:
        """Print a line beside the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line, err=True)
