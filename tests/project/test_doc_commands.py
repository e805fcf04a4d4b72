"""The commands that pages show are commands: their names, options and values are known."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from durable_jobs.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")]

UsageError = typer.BadParameter.__base__ or Exception
"""What the library under typer, which it brings along, raises for a wrong command."""

SHOWN = re.compile(r"^    (?:.*(?:\||&&) )?durable-jobs ([a-z].*)$")
"""A line of a block. Output of `--version` in one begins with a number."""

NAMED = re.compile(r"`durable-jobs ([a-z][^`…]*)`")
"""In a sentence, where what a command needs may be left out."""


def commands(line: str) -> Iterator[tuple[str, bool]]:
    """The commands of a line, and whether each is whole."""
    shown = SHOWN.match(line)
    if shown:
        yield re.split(r"\s+#\s", shown[1])[0], True
    else:
        yield from ((text, False) for text in NAMED.findall(line))


def parse(text: str) -> None:
    """Read a command as the shell and `durable-jobs` do, without running it."""
    group: Any = get_command(app)
    name, *arguments = shlex.split(text)
    parent = group.context_class(group)
    group.commands[name].make_context(name, arguments, parent=parent)


def fault_of(text: str, whole: bool) -> str | None:
    """What is wrong with a command."""
    try:
        parse(text)
    except KeyError:
        return "no such command"
    except UsageError as error:
        missing = type(error).__name__ == "MissingParameter"
        return None if missing and not whole else str(error)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_of_a_page_is_understood(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), 1)
    found = [
        (n, text, fault_of(text, whole)) for n, line in lines for text, whole in commands(line)
    ]
    assert [each for each in found if each[2]] == []


def test_a_wrong_command_is_found() -> None:
    [(text, whole)] = commands("    tail -f x | durable-jobs send task:a:b --colour red   # so")
    assert (text, whole) == ("send task:a:b --colour red", True)
    with pytest.raises(UsageError):
        parse(text)


def test_the_pages_show_commands() -> None:
    lines = [line for page in PAGES for line in page.read_text().splitlines()]
    assert sum(1 for line in lines for _ in commands(line)) > 50
