"""The code that pages show as files does what they say: tests pass, modules are imported."""

import re
from pathlib import Path

import pytest

from tests.support import Python

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("docs/jobs/*.md")), ROOT / "docs" / "jobs.md"]
FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """The files that a page shows, by name."""
    return dict(FILE.findall(page.read_text()))


def with_code() -> list[Path]:
    return [page for page in PAGES if "```python" in page.read_text()]


@pytest.mark.parametrize("page", with_code(), ids=lambda page: page.stem)
def test_each_block_of_a_page_about_jobs_is_a_file(page: Path) -> None:
    assert len(files(page)) == page.read_text().count("```python")


@pytest.mark.parametrize("page", with_code(), ids=lambda page: page.stem)
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
        names = files(ROOT / "docs" / "jobs" / f"{page}.md")
        assert any(name.startswith("test_") for name in names), page
