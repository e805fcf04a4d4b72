"""The command: start everything, replay, wait for the jobs, tell what happened."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from functools import partial

from rich.console import Console

from durable_jobs import JobsError
from examples.github.digest import plural

from .checks import Expected, missing, until_complete
from .errors import DemoError
from .replay import load, send, twice
from .report import Report
from .stack import Stack, everything

_WITHIN = 45.0
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; gives the exit code."""
    options = _parser().parse_args(arguments)
    report = Report(Console())
    try:
        asyncio.run(_run(report, options.deliveries, serve=options.serve))
    except (DemoError, JobsError, OSError) as error:
        report.failure(str(error))
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        report.failure("interrupted")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.github.demo", description=__doc__)
    parser.add_argument(
        "--serve", action="store_true", help="leave all running afterwards, until Ctrl-C"
    )
    parser.add_argument(
        "--deliveries", type=_count, metavar="N", help="replay only N of the 100 deliveries"
    )
    return parser


def _count(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError("a number from 1 to 100")


async def _run(report: Report, count: int | None, *, serve: bool) -> None:
    _cancel_on_signals()
    report.step("starting Temporal, a worker, a collector and the receiver")
    async with everything(report, fixed_ports=serve) as stack:
        await _replay(report, stack, count)
        if serve:
            await _serve(report, stack)
    report.step("everything is stopped")


def _cancel_on_signals() -> None:
    """Let the first signal unwind this task, which stops the children; more change nothing."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def stop(name: str) -> None:
        if task and not seen:
            seen.append(name)
            task.cancel()

    for name in _SIGNALS:
        if number := getattr(signal, name, None):
            # Not every system's event loop has them; Ctrl-C then raises KeyboardInterrupt.
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, partial(stop, name))


async def _replay(report: Report, stack: Stack, count: int | None) -> None:
    sendings = load(count)
    planned = twice(sendings)
    expected = Expected.of([sending.read() for sending in sendings])
    with report.sending(len(planned)) as progress:
        outcome = await send(planned, stack.receiver, stack.secret, progress)
    taken = plural(len(outcome.taken), "delivery", "deliveries")
    report.step(f"{taken} taken, {outcome.dropped} sent twice and dropped; waiting for the jobs")

    def look() -> list[str]:
        stack.check()
        return missing(stack.store, stack.ledger, expected)

    await until_complete(look, _WITHIN)
    report.step("every delivery is in one digest, every open thread followed up, tracking complete")
    report.table(outcome, stack.store, stack.ledger)


async def _serve(report: Report, stack: Stack) -> None:
    report.step("all of it goes on running until Ctrl-C:")
    report.addresses(
        {
            "page": stack.receiver,
            "API": f"{stack.receiver}/api/digests  /api/health  /api/threads",
            "webhooks": f"{stack.receiver}/webhooks/github  (secret {stack.secret})",
            "Temporal UI": stack.ui or "none",
            "Temporal": stack.temporal,
            "collector": stack.collector,
        }
    )
    try:
        while True:
            stack.check()
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        report.step("stopping")


if __name__ == "__main__":
    sys.exit(main())
