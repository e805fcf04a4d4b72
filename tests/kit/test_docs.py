"""The tests in docs/testing.md run, and print what it says."""

import re
from pathlib import Path

from tests.support import Python

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()


def block(page: str, name: str) -> str:
    """The code that a page gives a file's name."""
    [code] = re.findall(rf"```python\n(# {name}\n.*?)```", page, re.DOTALL)
    return code


async def test_the_first_test_has_ten_lines_and_passes(tmp_path: Path) -> None:
    (tmp_path / "digest.py").write_text(block((ROOT / "README.md").read_text(), "digest.py"))
    test = block(PAGE, "test_digest.py")
    (tmp_path / "test_digest.py").write_text(test)
    assert len(test.split("def test")[1].splitlines()) <= 10
    with Python("-m", "pytest", "-q", "test_digest.py", cwd=tmp_path) as process:
        assert await process.exit_code() == 0, process.text
        assert "1 passed" in process.text


async def test_the_test_of_a_handler_passes(tmp_path: Path) -> None:
    (tmp_path / "test_triage.py").write_text(block(PAGE, "test_triage.py"))
    with Python("-m", "pytest", "-q", "test_triage.py", cwd=tmp_path) as process:
        assert await process.exit_code() == 0, process.text
        assert "2 passed" in process.text


async def test_the_test_on_a_real_server_passes(tmp_path: Path) -> None:
    (tmp_path / "test_live.py").write_text(block(PAGE, "test_live.py"))
    with Python("-m", "pytest", "-q", "test_live.py", cwd=tmp_path) as process:
        assert await process.exit_code() == 0, process.text
        assert "1 passed" in process.text


async def test_what_happens_twice_is_reported_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "test_mail.py").write_text(block(PAGE, "test_mail.py"))
    [shown] = re.findall(r"\$ pytest -q --kill-workers test_mail.py\n(.*?)\n\n", PAGE, re.DOTALL)
    command = ("-m", "pytest", "-q", "--kill-workers", "test_mail.py")
    with Python(*command, cwd=tmp_path) as process:
        assert await process.exit_code() == 1, process.text
        for line in shown.splitlines():
            assert line.strip() in process.text
