"""What pyproject.toml declares is what the library imports."""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = DECLARED["project"]
EXTRAS = PROJECT["optional-dependencies"]

# `jobs` is the module of a project that `durable-jobs init` makes.
OWN = {"durable_jobs", "examples", "jobs"}

# Where each extra may be imported from; every other module needs no extra.
OF_EXTRAS = {
    "jobs/cli/_project": ("testing",),
    "tracking/collector": ("collector",),
    "jobs/cli/children.py": ("dev",),
    "jobs/contrib/django": ("django",),
    "jobs/contrib/fastapi.py": ("fastapi",),
    # Only where Django is there, for jobs of a Django project.
    "jobs/loading.py": ("django",),
    "jobs/testing/plugin.py": ("testing",),
    "jobs/tracing.py": ("tracing",),
    "activities/spans.py": ("tracing",),
}


def declared(*extras: str) -> dict[str, Requirement]:
    """The requirements of the project, and of extras, by name."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    requirements = map(Requirement, lines)
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@cache
def all_distributions() -> Mapping[str, list[str]]:
    """The distributions that packages come from. To look takes a second."""
    return packages_distributions()


def imported(module: Path) -> Iterator[set[str]]:
    """For each import of a module the distributions that may be meant, several of a namespace.

    The standard library is left out.
    """
    distributions = all_distributions()
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(name), level=0):
                names = [name]
            case _:
                continue
        for package in {name.partition(".")[0] for name in names} - OWN:
            if package not in sys.stdlib_module_names:
                yield set(map(canonicalize_name, distributions.get(package, [package])))


@pytest.mark.parametrize("folder", ["jobs", "workflows", "activities", "tracking", "examples"])
def test_every_distribution_that_is_imported_is_declared(folder: str) -> None:
    for module in (ROOT / folder).rglob("*.py"):
        path = str(module.relative_to(ROOT))
        extras = ("collector",) if folder == "examples" else ()
        extras += tuple(e for place, es in OF_EXTRAS.items() if path.startswith(place) for e in es)
        known = declared(*extras).keys()
        missing = [found for found in imported(module) if not found & known]
        assert not missing, f"{path} imports what pyproject.toml does not declare"


def test_what_is_no_public_interface_of_uvicorn_has_an_upper_bound() -> None:
    bounds = {specifier.operator for specifier in declared("collector")["uvicorn"].specifier}
    assert "<" in bounds


def test_the_wheel_has_every_package() -> None:
    setuptools = DECLARED["tool"]["setuptools"]
    places = setuptools["package-dir"]
    folders = {
        path.parent
        for top in ("jobs", "workflows", "activities", "tracking")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert {ROOT / place for place in places.values()} == folders
    assert sorted(places) == sorted(setuptools["packages"])


def test_the_version_stands_in_pyproject_alone() -> None:
    assert metadata.version("durable-jobs") == PROJECT["version"]
    folders = ("jobs", "workflows", "activities", "tracking", "examples", ".github")
    shipped = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    shipped += [ROOT / "Dockerfile", ROOT / "docker-compose.yml", ROOT / "docs" / "conf.py"]
    texts = [path for path in shipped if path.suffix in {".py", ".toml", ".yml", ".txt", ""}]
    assert len(texts) > 100
    assert [path for path in texts if PROJECT["version"] in path.read_text()] == []


def test_the_changelog_tells_of_the_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"\n## {PROJECT['version']}, " in changes
