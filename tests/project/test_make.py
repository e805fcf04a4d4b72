"""What the Makefile's commands leave behind."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["demo", "test", "types", "imports"])
def test_a_command_that_sets_a_checkout_up_makes_it_readable_to_editors(command: str) -> None:
    steps = subprocess.check_output(["make", "--dry-run", command], cwd=ROOT, text=True)
    assert "mkdir -p build/types/durable_jobs" in steps


def test_every_module_of_the_package_is_linked_under_its_import_name() -> None:
    subprocess.run(["make", "--silent", "links"], cwd=ROOT, check=True)
    linked = ROOT / "build" / "types" / "durable_jobs"
    for folder, name in (("jobs", "."), ("tracking", "tracking"), ("workflows", "workflows")):
        for module in (ROOT / folder).rglob("*.py"):
            link = linked / name / module.relative_to(ROOT / folder)
            assert link.resolve() == module
