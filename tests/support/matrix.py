"""Runs a short part of the suite on each Python, with the oldest and newest SDK and pydantic.

    make matrix                                  # all cells whose Python is here
    make matrix ARGS="3.13 oldest"               # those that match each word

The wheel is tested, not the checkout. A Python that is not here is named; without ARGS that is no
fault, but where ARGS names it, it is.
"""

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "matrix"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ENDS = ("oldest", "newest")
WITH_OLDEST = ("temporalio", "pydantic")
"""What the cells vary: the other requirements are as new as they come."""

TESTS = (
    *(
        f"tests/machines/test_{each}.py"
        for each in ("debounce", "continuous", "task", "worker_pool")
    ),
    "tests/definitions",
    "tests/kit/test_simulation.py",
    "tests/client/test_raw_clients.py",
    "tests/replay/test_replay.py",
    "tests/worker_pool/test_order.py",
)
NEEDS = ("pytest>=9", "pytest-asyncio>=1.3", "pytest-xdist>=3.8", "hypothesis>=6.150", "psutil>=7")


VERSIONS = """
import sys
from importlib.metadata import version
print(sys.version.split()[0], *(f"{name} {version(name)}" for name in ("temporalio", "pydantic")))
"""


@dataclass(frozen=True)
class Cell:
    """One Python with one end of the supported versions."""

    python: str
    end: str

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return FOLDER / f"{self.python}-{self.end}"

    def pins(self) -> list[str]:
        """The versions that this end is made of."""
        return list(oldest()) if self.end == "oldest" else []


def oldest(pyproject: Path = ROOT / "pyproject.toml") -> Iterator[str]:
    """The oldest supported versions, as pins."""
    lines = tomllib.loads(pyproject.read_text())["project"]["dependencies"]
    for name in WITH_OLDEST:
        [least] = [match[1] for line in lines if (match := re.match(rf"{name}>=([\d.]+)", line))]
        yield f"{name}=={least}"


def interpreter(python: str) -> str | None:
    """A Python of that version which runs: a shim of pyenv on the path may not."""
    name = f"python{python}"
    pyenv = Path.home().glob(f".pyenv/versions/{python}.*/bin/{name}")
    for found in filter(None, (which(name), *map(str, sorted(pyenv)))):
        command = [found, "-c", "import venv, ensurepip"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return found
    return None


def run(cell: Cell, python: str, wheel: Path) -> bool:
    """Make the environment of a cell and test in it."""
    subprocess.run([python, "-m", "venv", "--clear", cell.folder], check=True)
    own = cell.folder / "bin" / "python"
    wanted = [f"{wheel}[dev,testing,django,fastapi]", *NEEDS, *cell.pins()]
    subprocess.run([own, "-m", "pip", "install", "-qq", *wanted], check=True)
    subprocess.run([own, "-c", VERSIONS], check=True)
    command = [own, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--durations", "3", *TESTS]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def build() -> Path:
    """The wheel of this checkout."""
    out = FOLDER / "dist"
    for old in out.glob("*.whl"):
        old.unlink()
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", out, ROOT], check=True
    )
    [wheel] = out.glob("*.whl")
    return wheel


def chosen(words: list[str]) -> list[Cell]:
    """The cells that match each word, which is a Python or an end."""
    cells = [Cell(python, end) for python in PYTHONS for end in ENDS]
    if unknown := set(words) - {*PYTHONS, *ENDS}:
        raise SystemExit(f"{', '.join(sorted(unknown))}: choose from {', '.join(PYTHONS + ENDS)}")
    return [cell for cell in cells if all(word in (cell.python, cell.end) for word in words)]


def main(words: list[str]) -> int:
    """Test the cells; 1 where one fails, or none could be tested."""
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    wheel, results = build(), dict[str, str]()
    for cell in chosen(words):
        name, began = f"Python {cell.python}, {cell.end}", time.monotonic()
        if (python := interpreter(cell.python)) is None:
            results[name] = "missing" if cell.python in words else "no such Python here"
            continue
        passed = run(cell, python, wheel)
        results[name] = f"{'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s"
    for name, result in results.items():
        print(f"{name}: {result}")  # noqa: T201
    passed = [result for result in results.values() if result.startswith("passed")]
    failed = [result for result in results.values() if result.startswith(("FAILED", "missing"))]
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
