"""`make vulnerabilities` passes only where somebody could say that there are none."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
ADVISORY = '{"dependencies": [{"name": "requests", "vulns": [{"aliases": ["CVE-2018-18074"]}]}]}'


def check(folder: Path, *, of_the_bad: str, of_ours: str) -> subprocess.CompletedProcess[str]:
    """Run it with a `pip-audit` that answers so of the known bad release, and of the others."""
    fake = folder / "pip-audit"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *bad.txt*) {of_the_bad};; *) {of_ours};; esac\n')
    fake.chmod(0o755)
    ours = folder / "ours.txt"
    ours.write_text("anyio==4.0\n")
    return subprocess.run(
        ["bash", ROOT / ".ci" / "vulnerabilities", ours],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_passes_where_the_index_knows_advisories_and_none_is_ours(tmp_path: Path) -> None:
    result = check(tmp_path, of_the_bad=f"echo '{ADVISORY}'; exit 1", of_ours="exit 0")
    assert (result.returncode, result.stdout) == (0, "1 packages have no known vulnerability\n")


def test_it_fails_with_the_advisory_that_is_ours(tmp_path: Path) -> None:
    ours = "echo 'anyio 4.0 CVE-1'; exit 1"
    result = check(tmp_path, of_the_bad=f"echo '{ADVISORY}'; exit 1", of_ours=ours)
    assert (result.returncode, result.stdout) == (1, "anyio 4.0 CVE-1\n")


def test_it_fails_where_the_index_is_out_of_reach(tmp_path: Path) -> None:
    result = check(tmp_path, of_the_bad="echo 'no route' >&2; exit 1", of_ours="exit 0")
    assert result.returncode == 2
    assert result.stderr.startswith("no route\nNOT CHECKED")


def test_it_fails_where_the_index_tells_no_advisories(tmp_path: Path) -> None:
    result = check(tmp_path, of_the_bad="echo '{}'", of_ours="exit 0")
    assert result.returncode == 2
    assert result.stderr.startswith("NOT CHECKED")
