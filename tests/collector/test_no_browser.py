"""The tests of the page on a machine without a browser."""

from pathlib import Path

from tests.support import Python

ROOT = Path(__file__).parents[2]
OF_THE_PAGE = ("-m", "pytest", "-p", "no:cacheprovider", "tests/collector/test_page_gaps.py")


async def test_they_are_skipped_with_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    with Python(*OF_THE_PAGE, cwd=ROOT, PATH=str(tmp_path)) as tests:
        assert await tests.exit_code() == 0
        [reason] = [line for line in tests.output if "apt-get install -y chromium" in line]
    assert reason.startswith("3 skipped: ")


async def test_they_fail_where_a_browser_is_said_to_be_needed(tmp_path: Path) -> None:
    needed = {"PATH": str(tmp_path), "DURABLE_JOBS_TESTS_NEED_BROWSER": "1"}
    with Python(*OF_THE_PAGE, cwd=ROOT, **needed) as tests:
        assert await tests.exit_code() == 1
        assert "FileNotFoundError" in tests.text


async def test_a_command_that_only_advises_to_install_a_browser_is_none(tmp_path: Path) -> None:
    stub = tmp_path / "chromium-browser"
    stub.write_text("#!/bin/sh\necho 'install the snap' >&2\nexit 1\n")
    stub.chmod(0o755)
    with Python(*OF_THE_PAGE, cwd=ROOT, PATH=str(tmp_path)) as tests:
        assert await tests.exit_code() == 0
        assert "3 skipped" in tests.text
