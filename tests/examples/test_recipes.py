"""Each page under docs/recipes shows an example as it is."""

import re
from pathlib import Path

import pytest

from tests.support.prose import blocks, words

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "recipes").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_the_whole_example(page: Path) -> None:
    text = page.read_text()
    [(name, code)] = re.findall(r"^```python\n# (\S+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert code == (ROOT / "examples" / name).read_text()
    assert 30 <= len(code.splitlines()) <= 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_and_tells_how_to_run_and_test_the_example(page: Path) -> None:
    text = page.read_text()
    assert sum(words(block.text) for block in blocks(text)) <= 250
    assert f"durable-jobs dev --jobs examples.{page.stem.replace('-', '_')}:jobs" in text
    assert f"](../../tests/examples/test_{page.stem.replace('-', '_')}.py)" in text
    assert f"(recipes/{page.name})" in (ROOT / "docs" / "index.md").read_text()
    assert f"(../recipes/{page.name})" in (ROOT / "docs" / "jobs" / "features.md").read_text()
