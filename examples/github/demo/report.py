"""What the demonstration says: steps as they happen, and a table in the end."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from examples.github.digest import plural
from examples.github.store import Store

from .ledger import Ledger
from .replay import Outcome


class Report:
    """Writes to the terminal; plain lines where the output is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """Say what has just been reached, and when."""
        seconds = time.monotonic() - self._began
        self._console.print(f"[dim]{seconds:5.1f} s[/dim]  ", end="")
        self._console.print(text, markup=False, soft_wrap=True)

    def failure(self, reason: str) -> None:
        """Say why it did not work."""
        self._console.print("[bold red]failed:[/bold red] ", end="")
        self._console.print(reason, markup=False, soft_wrap=True)

    @contextmanager
    def sending(self, total: int) -> Generator[Callable[[Outcome], None], None, None]:
        """Show how far the replay is."""
        if not self._console.is_terminal:
            yield self._lines(total)
            return
        columns = (TextColumn("        {task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task("deliveries", total=total)
            yield lambda outcome: progress.update(task, completed=outcome.sent)

    def _lines(self, total: int) -> Callable[[Outcome], None]:
        def show(outcome: Outcome) -> None:
            if outcome.sent % 50 == 0 and outcome.sent < total:
                self.step(f"{outcome.sent} of {total} requests answered")

        return show

    def table(self, outcome: Outcome, store: Store, ledger: Ledger) -> None:
        """Show what happened."""
        table = Table(title="What happened", title_justify="left", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, count in _results(outcome, store):
            table.add_row(name, str(count))
        table.add_section()
        for name, count in sorted(ledger.by_type.items()):
            table.add_row(f"tracking: {name}", str(count))
        lives = plural(ledger.executions, "execution")
        table.add_row(f"tracking: gaps in the sequences of {lives}", str(len(ledger.gaps())))
        self._console.print(table)

    def addresses(self, addresses: dict[str, str]) -> None:
        """Name what is running."""
        width = max(map(len, addresses))
        for name, address in addresses.items():
            self._console.print(f"  {name:<{width}}  {address}", soft_wrap=True, highlight=False)


def _results(outcome: Outcome, store: Store) -> list[tuple[str, int]]:
    notes = store.notes(1000)
    return [
        ("requests sent", outcome.sent),
        ("deliveries taken", len(outcome.taken)),
        ("duplicates dropped", outcome.dropped),
        ("digests", len(store.digests(1000))),
        ("health summaries", len(store.health())),
        ("follow-ups", sum(note.what == "follow-up" for note in notes)),
        ("threads closed", sum(note.what == "ended" for note in notes)),
    ]
