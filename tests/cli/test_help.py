"""Help and shell completion of the commands."""

import pytest
import typer
from typer.testing import CliRunner

from durable_jobs.cli.app import app
from tests.support import Python

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_ends_with_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert f"Example: durable-jobs {name}" in " ".join(shown.output.split())


async def test_a_shell_completes_commands_and_options() -> None:
    for words, expected in (
        ("durable-jobs doc", "doctor"),
        ("durable-jobs worker --he", "--health"),
    ):
        number = str(len(words.split()) - 1)
        asked = {"_DURABLE_JOBS_COMPLETE": "complete_bash", "COMP_WORDS": words}
        with Python("-m", "durable_jobs.cli", COMP_CWORD=number, **asked) as shell:
            assert await shell.exit_code() == 0
            assert expected in shell.text.split()
