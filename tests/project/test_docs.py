"""What the docs point at is there: pages, headings, files, and the functions of one event's way."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import durable_jobs
from durable_jobs.kinds import KINDS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])
ARCHITECTURE = (ROOT / "docs" / "inside" / "architecture.md").read_text()


def text_of(page: Path) -> str:
    """A page without its blocks of code, in which brackets are no links."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def headings_of(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings_of(target), link


def test_each_decision_is_on_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "inside" / "decisions"
    listed = re.findall(r"\]\((\d{3}-[^)]*)\)", (folder / "README.md").read_text())
    assert listed == sorted(page.name for page in folder.glob("[0-9]*.md"))


def modules() -> list[ModuleType]:
    """The modules on an event's way."""
    parts = ("handles", "definitions", "workflows", "activities", "tracking")
    packages = [importlib.import_module(f"{durable_jobs.__name__}.{part}") for part in parts]
    found = [
        importlib.import_module(each.name)
        for package in packages
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not each.name.endswith("__main__")
    ]
    return [*packages, *found]


def test_the_functions_of_one_events_way_are_there_and_at_most_fifteen() -> None:
    way = ARCHITECTURE.split("## One event's way")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", way, flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 16))
    known = modules()
    for name in re.findall(r"`([A-Za-z_.]+)`", " ".join(row for _, row in rows)):
        assert any(_has(module, name) for module in known), name


def _has(module: ModuleType, dotted: str) -> bool:
    """Whether a module defines a function, or a class with such a method."""
    found: object = module
    for name in dotted.split("."):
        found = getattr(found, name, None)
    # `attempts.start` is named by its module.
    module_name, _, function = dotted.rpartition(".")
    by_module = module.__name__.endswith(f".{module_name}") and hasattr(module, function)
    return by_module or inspect.isfunction(found)


def test_the_files_that_a_new_job_type_touches_name_the_worker_pool() -> None:
    steps = ARCHITECTURE.split("## A new job type")[1].split("\n## ")[0]
    table = re.findall(r"^\| (`.*?) \|", steps, flags=re.MULTILINE)
    files = re.findall(r"`([^`]+)`", " ".join(table))
    assert len(files) == 9
    kind = KINDS["workerPool"]
    for file in files:
        text = (ROOT / file).read_text()
        assert kind.name in text or kind.workflow in text or "worker_pool" in text, file


REFERENCE = "".join(page.read_text() for page in ROOT.glob("docs/reference/*.md"))


@pytest.mark.parametrize(
    "module", ["", ".tracking", ".testing", ".sync", ".contrib.fastapi", ".contrib.django"]
)
def test_each_public_name_is_in_the_reference(module: str) -> None:
    package = f"{durable_jobs.__name__}{module}"
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", REFERENCE, flags=re.MULTILINE))
    names = {f"{package}.{name}" for name in importlib.import_module(package).__all__}
    # A name that two packages export is described once.
    assert {name for name in names if name not in documented and not _elsewhere(name)} == set()


def _elsewhere(name: str) -> bool:
    own = f"{durable_jobs.__name__}.{name.rpartition('.')[2]}"
    return name != own and f":: {own}\n" in REFERENCE


def test_each_page_of_the_site_says_first_for_whom_it_is() -> None:
    for page in ROOT.glob("docs/**/*.md"):
        if "inside" in page.parts:
            continue
        first = page.read_text().split("\n\n")[1]
        assert first.startswith("For "), f"{page.name} begins with: {first}"
