"""Chaos as a command: python -m tests.chaos --minutes 10."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from .run import run


def main() -> int:
    """Run, print the account; the exit code is 1 where anything was lost or does not add up."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--callers", type=int, default=24, help="lives at the same time")
    parser.add_argument("--seed", type=int, default=None, help="of what goes wrong, and when")
    parser.add_argument("--keep", type=Path, help="a folder for the database, notes and logs")
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    sys.stdout.write(f"chaos for {given.minutes:g} minutes, seed {seed}\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = asyncio.run(run(folder, given.minutes * 60, seed, given.callers))
    sys.stdout.write(f"{outcome}\n")
    return 1 if outcome.report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
