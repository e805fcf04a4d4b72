"""The code that pages show as files does what they say: tests pass, modules are imported."""

import re
from pathlib import Path

import pytest

from tests.support import Python

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.DOTALL | re.MULTILINE)

RUN_ELSEWHERE = {"sync.md", "testing.md"}
"""With their servers and output: `client/`, `examples/` and `kit/`."""


def files(page: Path) -> dict[str, str]:
    """The files that a page shows, by name."""
    return dict(FILE.findall(page.read_text()))


def with_code() -> list[Path]:
    pages = [page for page in DOCS.glob("**/*.md") if "inside" not in page.parts]
    return sorted(page for page in pages if "```python" in page.read_text())


@pytest.mark.parametrize("page", with_code(), ids=lambda page: page.stem)
def test_each_block_of_python_is_a_file(page: Path) -> None:
    shown = re.findall(r"^```python\n(.*)", page.read_text(), re.MULTILINE)
    assert [line for line in shown if not re.fullmatch(r"# \S+\.py", line)] == []


@pytest.mark.parametrize(
    "page",
    [page for page in with_code() if page.name not in RUN_ELSEWHERE],
    ids=lambda page: page.stem,
)
async def test_the_files_of_a_page_work(page: Path, tmp_path: Path) -> None:
    shown = files(page)
    for name, code in shown.items():
        (tmp_path / name).write_text(code)
    for name in shown:
        command = ("-m", "pytest", "-q", name) if name.startswith("test_") else (name,)
        with Python(*command, cwd=tmp_path) as process:
            assert await process.exit_code() == 0, process.text


def test_each_type_of_job_has_a_page_with_a_test() -> None:
    for page in ("debounce", "continuous", "task", "worker-pool"):
        names = files(DOCS / "jobs" / f"{page}.md")
        assert any(name.startswith("test_") for name in names), page
