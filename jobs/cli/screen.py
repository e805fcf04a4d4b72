"""Where commands print what people read."""

import os
import sys

from rich.console import Console
from rich.text import Text

_WIDE = 1_000
_NARROWEST = 20


def console() -> Console:
    """Where tables are printed. A pipe gets whole lines: it has no width."""
    whole = not (sys.stdout.isatty() or os.environ.get("COLUMNS"))
    return Console(highlight=False, width=_WIDE if whole else None)


def print_hanging(out: Console, head: Text, body: Text) -> None:
    """Print a line. What has no room goes on below, where the body began."""
    room = max(out.width - head.cell_len, _NARROWEST)
    lines = body.wrap(out, room, overflow="fold")
    for line in lines:
        line.rstrip()
    below = Text("\n" + " " * head.cell_len)
    out.print(Text.assemble(head, below.join(lines)), soft_wrap=True)
