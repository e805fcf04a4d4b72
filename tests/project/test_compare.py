"""Each claim of the comparison with other systems names its source."""

import re
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "compare.md").read_text()
SYSTEMS = [
    *("durable-jobs", "Temporal by hand", "Inngest", "Trigger.dev", "Hatchet", "DBOS"),
    *("Restate", "BullMQ", "Celery"),
]
TABLES = [
    "What each does for the four kinds of work",
    "Data, lost workers, new versions",
    "Hosting, cost, languages",
]
NO_PAGE_FOUND = "\N{EN DASH}"


def rows_of(title: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    _, _, section = PAGE.partition(f"## {title}\n")
    lines = dropwhile(lambda line: not line.startswith("|"), section.splitlines())
    table = list(takewhile(lambda line: line.startswith("|"), lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@pytest.mark.parametrize("title", TABLES)
def test_each_table_has_a_row_for_each_system(title: str) -> None:
    assert [row[0] for row in rows_of(title)] == SYSTEMS


@pytest.mark.parametrize("title", TABLES)
@pytest.mark.parametrize("system", SYSTEMS)
def test_each_claim_names_its_source(title: str, system: str) -> None:
    [row] = [row for row in rows_of(title) if row[0] == system]
    assert [cell for cell in row[1:] if cell != NO_PAGE_FOUND and "](" not in cell] == []


def test_sources_that_may_change_are_linked_at_a_commit() -> None:
    theirs = re.findall(r"https://github\.com/(?!durable-jobs/)[^)\s]+", PAGE)
    assert theirs
    assert [link for link in theirs if not re.search(r"/blob/[0-9a-f]{40}/", link)] == []


def test_its_figures_are_those_of_the_benchmarks() -> None:
    benchmarks = (DOCS / "inside" / "benchmarks.md").read_text()
    _, _, measured = PAGE.partition("## Where durable-jobs is worse\n")
    lines = [line for line in measured.splitlines() if "adds a second" in line]
    figures = re.findall(r"[\d,]*\d", re.sub(r"\]\([^)]*\)", "]", " ".join(lines)))
    assert {"52,134", "940", "127", "144"} < set(figures)
    assert [figure for figure in figures if not re.search(rf"\b{figure}\b", benchmarks)] == []
