"""The `durable-jobs` command."""

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with `arguments`, else with those of this process, and exit."""
    from .app import app

    app(sys.argv[1:] if arguments is None else list(arguments), prog_name="durable-jobs")
    raise SystemExit(0)
