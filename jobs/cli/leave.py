"""The end of a command."""

import atexit
import logging
import os
import sys
from typing import NoReturn

import typer


def leave(code: int) -> NoReturn:
    """End the process now, after what was registered for its end.

    An ordinary exit would wait for the threads of handlers that were left behind, and the
    threads of the Temporal SDK sometimes crash an interpreter that is shutting down
    (temporalio/sdk-python issue 300).
    """
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def complain(message: object) -> None:
    """Say on stderr what went wrong."""
    typer.echo(f"durable-jobs: {message}", err=True)
