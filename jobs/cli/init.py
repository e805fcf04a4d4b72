"""`durable-jobs init`: a first project, which runs."""

import shlex
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import typer

from .reach import FAILED, WRONG_INPUT, Trouble

_FILES: Final = {
    "jobs.py": "a job that reads a page every 5 s, and fails at times",
    "test_jobs.py": "its tests, which need no server",
    "requirements.txt": "what both need",
    "compose.yml": "Temporal, a worker and a collector in containers",
    "Dockerfile": "the image of the worker",
    "README.md": "what to try",
    ".gitignore": "",
}
_NEEDED: Final = ("pytest", "starlette", "uvicorn", "watchfiles")


def make_project(folder: Path) -> None:
    """Write the files; raises `Trouble` where some are there already."""
    there = [name for name in _FILES if (folder / name).exists()]
    if there:
        raise Trouble(f"{folder} has {', '.join(there)} already; name a new folder", WRONG_INPUT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            text = content_of(name, folder.resolve().name)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Trouble(f"the project cannot be written: {error}", FAILED) from error
    typer.echo("\n".join(_told(folder)))


def content_of(name: str, project: str) -> str:
    """A file's text, for a project of a name."""
    # Here a .gitignore would hide files of this library.
    source = Path(__file__).with_name("_project") / name.removeprefix(".")
    text = source.read_text(encoding="utf-8")
    if name.endswith((".py", ".yml")):
        return text
    return text.replace("{name}", project).replace("{version}", version("durable-jobs"))


def _told(folder: Path) -> list[str]:
    lines = [f"Made in {folder}:"]
    lines += [f"  {name:17} {what}".rstrip() for name, what in _FILES.items() if what]
    here = folder.resolve() == Path.cwd()
    steps = [] if here else [f"cd {shlex.quote(str(folder))}"]
    if any(find_spec(module) is None for module in _NEEDED):
        steps.append("python -m pip install -r requirements.txt")
    steps += ["python -m pytest -q", "durable-jobs dev --jobs jobs:jobs"]
    return [*lines, "Test it and run it:", f"  {' && '.join(steps)}"]
