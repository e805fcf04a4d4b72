"""`make matrix` and the workflow test what pyproject.toml says is supported."""

import tomllib
from pathlib import Path

import pytest
import yaml

from tests.support.matrix import ENDS, PYTHONS, TESTS, Cell, chosen, oldest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CI = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


def test_the_oldest_versions_are_those_that_the_project_allows() -> None:
    lines = [line.partition(",")[0] for line in PROJECT["dependencies"]]
    pins = list(oldest())
    assert [pin.partition("==")[0] for pin in pins] == ["temporalio", "pydantic"]
    assert {pin.replace("==", ">=") for pin in pins} <= set(lines)


def test_the_workflow_runs_the_same_cells() -> None:
    matrix = CI["jobs"]["matrix"]["strategy"]["matrix"]
    assert (tuple(matrix["python"]), tuple(matrix["end"])) == (PYTHONS, ENDS)


def test_the_oldest_python_is_the_one_that_the_project_asks_for() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


def test_words_choose_cells() -> None:
    assert chosen(["3.13", "oldest"]) == [Cell("3.13", "oldest")]
    assert len(chosen([])) == len(PYTHONS) * len(ENDS)
    with pytest.raises(SystemExit, match=r"3\.9: choose from 3\.11"):
        chosen(["3.9"])


@pytest.mark.parametrize("path", TESTS)
def test_the_tests_of_a_cell_are_there(path: str) -> None:
    assert (ROOT / path).exists()
